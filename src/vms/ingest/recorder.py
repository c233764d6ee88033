"""From frames to fragments to the volume's writer thread, for one stream.

The event loop calls ``add``; the writer thread runs ``_drain``. Between them stands ``_waiting``: fragments leave it
only once they are on disk, so a full queue, a slow disk or an error loses nothing until the memory ring's span
is used up.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from vms.common.clock import Clock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, FrameFlag, VideoParameters
from vms.format.model import Fragment, RecordingEvent
from vms.format.recording import RecordingWriter
from vms.format.volume import VolumeWriter
from vms.ingest.fragmenter import Fragmenter

_RETRY_AFTER_ERROR_S: Final = 1.0
_CLOSE_AFTER_S: Final = 60.0


class StreamRecorder:
    """Records one stream on one volume. All methods are for the event loop's thread, except where said."""

    def __init__(
        self,
        writer: RecordingWriter,
        volume: VolumeWriter,
        *,
        clock: Clock,
        fragment_s: float,
        hold_s: float,
        on_event: Callable[[RecordingEvent], None],
        on_lost: Callable[[VmsError], None],
    ) -> None:
        self._writer = writer
        self._volume = volume
        self._clock = clock
        self._hold_90k = round(hold_s * 90_000)
        self._on_event = on_event
        self._on_lost = on_lost
        self._fragmenter = Fragmenter(limit_90k=round(fragment_s * 90_000))
        self._parameters: VideoParameters | None = None
        self._waiting: deque[tuple[VideoParameters, Fragment]] = deque()
        self._waiting_90k = 0
        self._waiting_bytes = 0
        self._lock = threading.Lock()  # guards what _waiting holds, and _is_writing
        self._is_writing = False
        self._events: deque[RecordingEvent] = deque()  # writer thread to event loop
        self._queued = False
        self._resume_at_keyframe = False
        self._retry_at = 0.0
        self._idle_since: float | None = None  # when the last fragment came, while a file is open
        self.error: VmsError | None = None  # why the disk does not take fragments now
        self.fragments_lost = 0

    @property
    def behind_s(self) -> float:
        """Seconds of footage that wait for the disk."""
        return self._waiting_90k / 90_000

    def set_parameters(self, parameters: VideoParameters) -> None:
        """Frames from here on are coded with these."""
        if self._parameters is not None and parameters != self._parameters:
            self.flush()
        self._parameters = parameters

    def add(self, unit: AccessUnit) -> None:
        """Take the next frame in decode order."""
        fragments = self._fragmenter.add(unit)
        for fragment in fragments:
            self._enqueue(fragment)

    def flush(self) -> None:
        """Hand over an unfinished fragment: the session ended."""
        fragment = self._fragmenter.flush()
        if fragment is not None:
            self._enqueue(fragment)

    def poll(self) -> None:
        """Deliver what the writer thread reported, and try again what it could not write. Call it twice a second."""
        self.take_events()
        if self._waiting:
            self._submit()
        elif self._idle_since is not None and self._clock.monotonic() - self._idle_since > _CLOSE_AFTER_S:
            # The camera is gone: complete the file, so that it seeks and is checked; recording goes on in it later.
            self._idle_since = None
            self._volume.submit(self._close_file, 0)

    def close(self, done: Callable[[], object]) -> None:
        """Flush and close the file behind everything that waits; ``done`` is called on the writer thread."""
        self.flush()
        self._volume.submit(lambda: self._drain_and_close(done), 0)

    def take_events(self) -> None:
        """Deliver what the writer thread reported."""
        while self._events:
            self._on_event(self._events.popleft())

    def _enqueue(self, fragment: Fragment) -> None:
        if self._parameters is None:
            return
        if self._resume_at_keyframe:
            if not fragment.flags & FrameFlag.KEYFRAME:
                self._lose()
                return
            fragment.flags |= FrameFlag.DISCONTINUITY
            self._resume_at_keyframe = False
        self._idle_since = self._clock.monotonic()
        with self._lock:
            self._waiting.append((self._parameters, fragment))
            self._waiting_90k += fragment.duration_90k
            self._waiting_bytes += fragment_bytes(fragment)
        if self._waiting_90k > self._hold_90k:
            self._drop_oldest()
        self._submit()

    def _submit(self) -> None:
        if not self._queued and self._clock.monotonic() >= self._retry_at:
            self._queued = self._volume.submit(self._drain, self._waiting_bytes)

    def _drop_oldest(self) -> None:
        """The disk is behind by more than memory may hold: lose the oldest fragment and what depends on it."""
        dropped = 0
        with self._lock:
            # The fragment that is being written at this moment is not ours to drop.
            first = 1 if self._is_writing else 0
            while len(self._waiting) > first:
                _, fragment = self._waiting[first]
                if dropped and fragment.flags & FrameFlag.KEYFRAME:
                    fragment.flags |= FrameFlag.DISCONTINUITY
                    return
                del self._waiting[first]
                self._forget(fragment)
                dropped += 1
                self._lose()
        self._resume_at_keyframe = True

    def _lose(self) -> None:
        self.fragments_lost += 1
        self._on_lost(self.error or VmsError(ErrorKind.STORAGE, "the disk is too slow"))

    # --- writer thread ----------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        self._queued = False
        while True:
            with self._lock:
                self._is_writing = bool(self._waiting)
                if not self._waiting:
                    return
                parameters, fragment = self._waiting[0]
            try:
                events = self._writer.write(parameters, fragment, self._clock.monotonic())
            except VmsError as error:
                self._failed(error)
                return
            self.error = None
            with self._lock:
                self._waiting.popleft()
                self._forget(fragment)
            self._events.extend(events)

    def _failed(self, error: VmsError) -> None:
        with self._lock:
            self._is_writing = False
            if error.kind is not ErrorKind.STORAGE:
                # The fragment itself is the trouble (times that fit nowhere): trying again would stop the recording.
                _, fragment = self._waiting.popleft()
                self._forget(fragment)
                self.fragments_lost += 1
        self.error = error
        self._retry_at = self._clock.monotonic() + _RETRY_AFTER_ERROR_S

    def _forget(self, fragment: Fragment) -> None:
        self._waiting_90k -= fragment.duration_90k
        self._waiting_bytes -= fragment_bytes(fragment)

    def _drain_and_close(self, done: Callable[[], object]) -> None:
        try:
            self._drain()
            self._close_file()
        finally:
            done()

    def _close_file(self) -> None:
        try:
            self._events.extend(self._writer.close())
        except VmsError as error:
            self.error = error


def fragment_bytes(fragment: Fragment) -> int:
    """Payload bytes of a fragment."""
    return sum(len(unit.payload) for unit in fragment.units)
