"""From frames to fragments to the volume's writer thread, for one stream.

The event loop calls ``add``; the writer thread runs ``_drain``. Between them stands ``_waiting``: fragments leave it
only once they are on disk, so a full queue, a slow disk or an error loses nothing until the memory ring's span
is used up.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from vms.common.clock import Clock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, FrameFlag, VideoParameters
from vms.format.model import Fragment, RecordingEvent
from vms.format.recording import RecordingWriter
from vms.format.volume import VolumeWriter
from vms.ingest.fragmenter import Fragmenter
from vms.ingest.gaps import Interruption, cause_of
from vms.proto.messages import GapCause

# Plain integers: an IntFlag operation costs a microsecond, and these run for every frame.
_KEYFRAME: Final = int(FrameFlag.KEYFRAME)
_DISCONTINUITY: Final = int(FrameFlag.DISCONTINUITY)

_RETRY_AFTER_ERROR_S: Final = 1.0
_SILENT_S: Final = 2.0
_CLOSE_AFTER_S: Final = 60.0


class _Waiting(NamedTuple):
    parameters: VideoParameters
    fragment: Fragment
    interruption: Interruption | None  # why it does not follow the fragment before it


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
        on_interruption: Callable[[Interruption], None],
    ) -> None:
        self._writer = writer
        self._volume = volume
        self._clock = clock
        self._hold_90k = round(hold_s * 90_000)
        self._on_event = on_event
        self._on_interruption = on_interruption
        self._fragmenter = Fragmenter(limit_90k=round(fragment_s * 90_000))
        self._parameters: VideoParameters | None = None
        self._waiting: deque[_Waiting] = deque()
        self._waiting_90k = 0
        self._waiting_bytes = 0
        self._lock = threading.Lock()  # guards what _waiting holds, and _is_writing
        self._is_writing = False
        # Writer thread to event loop; an interruption comes before the event of the fragment that it concerns.
        self._events: deque[RecordingEvent | Interruption] = deque()
        self._interruption: Interruption | None = None  # for the next fragment
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

    def interrupted(self, interruption: Interruption) -> None:
        """The next frame does not follow the last one; the first reason counts."""
        self._interruption = self._interruption or interruption

    def poll(self) -> None:
        """Deliver what the writer thread reported, and try again what it could not write. Call it twice a second."""
        self.take_events()
        if self._waiting:
            self._submit()
            return
        idle_s = 0.0 if self._idle_since is None else self._clock.monotonic() - self._idle_since
        if idle_s > _CLOSE_AFTER_S:
            # The camera is gone: complete the file, so that it seeks and is checked; recording goes on in it later.
            self._idle_since = None
            self._volume.submit(self._close_file, 0)
        elif idle_s > _SILENT_S:
            # No fragment comes that would bring the next sync with it.
            self._volume.submit(self._sync, 0)

    def close(self, done: Callable[[], object]) -> None:
        """Flush and close the file behind everything that waits; ``done`` is called on the writer thread."""
        self.flush()
        if not self._volume.submit(lambda: self._drain_and_close(done), 0):
            done()  # the volume is closed already: nobody will write what waits

    def take_events(self) -> None:
        """Deliver what the writer thread reported."""
        while self._events:
            event = self._events.popleft()
            if isinstance(event, Interruption):
                self._on_interruption(event)
            else:
                self._on_event(event)

    def _enqueue(self, fragment: Fragment) -> None:
        if self._parameters is None:
            return
        if self._resume_at_keyframe:
            if not fragment.flags & _KEYFRAME:
                self.fragments_lost += 1
                return
            fragment.flags |= _DISCONTINUITY
            self._resume_at_keyframe = False
        self._idle_since = self._clock.monotonic()
        with self._lock:
            self._waiting.append(_Waiting(self._parameters, fragment, self._interruption))
            self._waiting_90k += fragment.duration_90k
            self._waiting_bytes += fragment_bytes(fragment)
        self._interruption = None
        if self._waiting_90k > self._hold_90k:
            self._drop_oldest()
        self._submit()

    def _submit(self) -> None:
        if self._queued or self._clock.monotonic() < self._retry_at:
            return
        # Set before the job is queued: the writer thread may have run it, and taken the mark back, when submit returns.
        self._queued = True
        if not self._volume.submit(self._drain, self._waiting_bytes, self._crashed):
            self._queued = False

    def _drop_oldest(self) -> None:
        """The disk is behind by more than memory may hold: lose the oldest fragment and what depends on it."""
        loss: Interruption | None = None
        with self._lock:
            # The fragment that is being written at this moment is not ours to drop.
            first = 1 if self._is_writing else 0
            while len(self._waiting) > first:
                parameters, fragment, interruption = self._waiting[first]
                if loss is not None and fragment.flags & _KEYFRAME:
                    fragment.flags |= _DISCONTINUITY
                    self._waiting[first] = _Waiting(parameters, fragment, loss)
                    return
                del self._waiting[first]
                self._forget(fragment)
                self.fragments_lost += 1
                # What is missing now begins where the first lost fragment began.
                loss = loss or interruption or self._loss()
        self._resume_at_keyframe = True
        self._interruption = loss

    def _loss(self) -> Interruption:
        return Interruption(GapCause.DISK_FULL, self.error.message if self.error else "the disk is too slow")

    # --- writer thread ----------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        self._queued = False
        while True:
            with self._lock:
                self._is_writing = bool(self._waiting)
                if not self._waiting:
                    return
                parameters, fragment, interruption = self._waiting[0]
            try:
                events = self._writer.write(parameters, fragment, self._clock.monotonic())
            except VmsError as error:
                self._failed(error)
                return
            self.error = None
            with self._lock:
                self._waiting.popleft()
                self._forget(fragment)
            if interruption is not None:
                self._events.append(interruption)
            self._events.extend(events)

    def _crashed(self, error: Exception) -> None:
        """A fragment that the writer cannot even refuse: without this it would be tried, in vain, for ever."""
        self._failed(VmsError(ErrorKind.INTERNAL, f"writing failed: {type(error).__name__}"))

    def _failed(self, error: VmsError) -> None:
        with self._lock:
            self._is_writing = False
            if error.kind is not ErrorKind.STORAGE:
                # The fragment itself is the trouble (times that fit nowhere): trying again would stop the recording.
                _, fragment, interruption = self._waiting.popleft()
                self._forget(fragment)
                self.fragments_lost += 1
                self._events.append(interruption or Interruption(cause_of(error.kind), error.message))
        self.error = error
        self._retry_at = self._clock.monotonic() + _RETRY_AFTER_ERROR_S

    def _forget(self, fragment: Fragment) -> None:
        self._waiting_90k -= fragment.duration_90k
        self._waiting_bytes -= fragment_bytes(fragment)

    def _drain_and_close(self, done: Callable[[], object]) -> None:
        try:
            self._drain_for_the_last_time()
            self._close_file()
        finally:
            done()

    def _drain_for_the_last_time(self) -> None:
        """Drain until nothing waits or nothing moves: one fragment that cannot be written must not cost the rest."""
        waited = len(self._waiting) + 1
        while 0 < len(self._waiting) < waited:
            waited = len(self._waiting)
            try:
                self._drain()
            except Exception as error:  # noqa: BLE001 - as for every other drain, but there is nobody left to come back
                self._crashed(error)

    def _sync(self) -> None:
        try:
            self._writer.sync(self._clock.monotonic())
        except VmsError as error:
            self.error = error

    def _close_file(self) -> None:
        try:
            self._events.extend(self._writer.close())
        except VmsError as error:
            self.error = error


def fragment_bytes(fragment: Fragment) -> int:
    """Payload bytes of a fragment."""
    return sum(len(unit.payload) for unit in fragment.units)
