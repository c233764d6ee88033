"""Where a session's frames are kept: on a volume of this machine, or on the bus for a storage service."""

import asyncio
import contextlib
from collections import deque
from typing import Final, NamedTuple, Protocol

from vms.bus.client import Bus
from vms.common.clock import Clock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, Container, FrameFlag, VideoParameters
from vms.common.types import CameraId
from vms.format.model import Fragment
from vms.ingest.announcements import Announcer
from vms.ingest.fragmenter import Fragmenter
from vms.ingest.gaps import Interruption
from vms.ingest.recorder import StreamRecorder, fragment_bytes
from vms.proto import subjects
from vms.proto.convert import encode
from vms.proto.messages import FragmentPart, FragmentUnit, GapCause

# Plain integers: an IntFlag operation costs a microsecond, and these run for every frame.
_KEYFRAME: Final = int(FrameFlag.KEYFRAME)
_DISCONTINUITY: Final = int(FrameFlag.DISCONTINUITY)

_POLL_S: Final = 0.5
_PART_BYTES: Final = 512 * 1024  # well below the server's limit of one message
_ACK_TIMEOUT_S: Final = 5.0
_RETRY_S: Final = 0.5
_GOODBYE_S: Final = 2.0  # what is left at the end gets this long to be stored


class RecordingTrack(Protocol):
    """What a session sees of its recorder. All methods run on the event loop and never block."""

    @property
    def error(self) -> VmsError | None:
        """Why frames are not being kept at this moment."""
        ...

    @property
    def behind_s(self) -> float:
        """Seconds of footage in memory that wait to be kept."""
        ...

    @property
    def is_recording(self) -> bool:
        """Whether the frames that arrive are being kept."""
        ...

    @property
    def gaps_total(self) -> int:
        """Gaps announced since this process started."""
        ...

    def set_parameters(self, parameters: VideoParameters) -> None:
        """Frames from here on are coded with these."""
        ...

    def add(self, unit: AccessUnit) -> None:
        """Keep one frame."""
        ...

    def flush(self) -> None:
        """The connection ended: keep the unfinished fragment too."""
        ...

    def interrupted(self, cause: GapCause, detail: str) -> None:
        """Frames stopped coming, and why."""
        ...

    async def run(self) -> None:
        """Do what has to be done beside the frames, until cancelled; then finish what was begun."""
        ...


class DiskTrack:
    """Records on a volume of this machine."""

    def __init__(self, recorder: StreamRecorder, announcer: Announcer) -> None:
        self.recorder = recorder
        self.announcer = announcer
        self.add = recorder.add  # hot: the recorder's own method, without a call in between

    @property
    def error(self) -> VmsError | None:
        """Why the disk does not take fragments."""
        return self.recorder.error

    @property
    def behind_s(self) -> float:
        """Seconds that wait for the disk."""
        return self.recorder.behind_s

    @property
    def is_recording(self) -> bool:
        """Whether fragments reach the disk."""
        return self.recorder.error is None and self.announcer.last_written_us is not None

    @property
    def gaps_total(self) -> int:
        """Gaps announced since this process started."""
        return self.announcer.gaps_total

    def set_parameters(self, parameters: VideoParameters) -> None:
        """Frames from here on are coded with these."""
        self.recorder.set_parameters(parameters)

    def flush(self) -> None:
        """Record the unfinished fragment."""
        self.recorder.flush()

    def interrupted(self, cause: GapCause, detail: str) -> None:
        """Frames stopped coming."""
        self.recorder.interrupted(Interruption(cause, detail))

    async def run(self) -> None:
        """Deliver announcements twice a second; on cancellation close the file behind what waits."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(_POLL_S)
                self.recorder.poll()
        finally:
            closed = loop.create_future()
            self.recorder.close(lambda: loop.call_soon_threadsafe(_resolve, closed))
            # The writer thread may be in the middle of a slow write; what is queued is written all the same.
            await asyncio.shield(closed)
            self.recorder.take_events()


class _Waiting(NamedTuple):
    seq: int  # for good: a retry says the same, and what was dropped leaves a hole
    parameters: VideoParameters
    fragment: Fragment


class BusTrack:
    """Sends fragments to a storage service over JetStream; they leave memory once the server has stored them."""

    def __init__(
        self,
        camera_id: CameraId,
        *,
        container: Container,
        session_id: str,
        bus: Bus,
        clock: Clock,
        fragment_s: float,
        max_bytes: int,
    ) -> None:
        self._camera_id = camera_id
        self._container = container
        self._session_id = session_id
        self._bus = bus
        self._clock = clock
        self._max_bytes = max_bytes
        self._fragmenter = Fragmenter(limit_90k=round(fragment_s * 90_000))
        self._parameters: VideoParameters | None = None
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._has_waiting = asyncio.Event()
        self._resume_at_keyframe = False
        self._next_seq = 0
        self._error: VmsError | None = None
        self.fragments_lost = 0
        self.fragments_sent = 0

    @property
    def error(self) -> VmsError | None:
        """Why the bus does not take fragments."""
        return self._error

    @property
    def behind_s(self) -> float:
        """Seconds that wait for the bus."""
        return sum(waiting.fragment.duration_90k for waiting in self._waiting) / 90_000

    @property
    def is_recording(self) -> bool:
        """Whether fragments reach the bus."""
        return self._error is None and self.fragments_sent > 0

    @property
    def gaps_total(self) -> int:
        """Fragments that were lost because the bus was away for too long."""
        return self.fragments_lost

    def set_parameters(self, parameters: VideoParameters) -> None:
        """Frames from here on are coded with these."""
        if self._parameters is not None and parameters != self._parameters:
            self.flush()
        self._parameters = parameters

    def add(self, unit: AccessUnit) -> None:
        """Send one frame with its fragment."""
        for fragment in self._fragmenter.add(unit):
            self._enqueue(fragment)

    def flush(self) -> None:
        """Send the unfinished fragment."""
        fragment = self._fragmenter.flush()
        if fragment is not None:
            self._enqueue(fragment)

    def interrupted(self, cause: GapCause, detail: str) -> None:
        """The storage service sees the gap in the capture times."""

    async def run(self) -> None:
        """Send what waits, in order, until cancelled; then what is left, if the bus takes it at once."""
        try:
            while True:
                await self._has_waiting.wait()
                try:
                    await self._send_next()
                except VmsError as error:
                    self._error = error
                    await asyncio.sleep(_RETRY_S)
        finally:
            self.flush()
            with contextlib.suppress(VmsError, TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    while self._waiting:
                        await self._send_next()

    async def _send_next(self) -> None:
        waiting = self._waiting[0]
        await self._send(waiting)
        self._error = None
        self.fragments_sent += 1
        # It may have been dropped for want of memory while it was under way.
        if self._waiting and self._waiting[0] is waiting:
            self._pop()

    async def _send(self, waiting: _Waiting) -> None:
        seq, parameters, fragment = waiting
        data = b"".join(unit.payload for unit in fragment.units)
        table = tuple(
            FragmentUnit(len(u.payload), u.pts_90k, u.dts_90k, u.capture_us, int(u.flags)) for u in fragment.units
        )
        count = max(1, -(-len(data) // _PART_BYTES))
        for part in range(count):
            message = FragmentPart(
                camera_id=self._camera_id,
                session_id=self._session_id,
                fragment_seq=seq,
                part=part,
                parts=count,
                container=self._container,
                parameters=parameters,
                units=table if part == 0 else (),
                wall_us=fragment.wall_us,
                duration_90k=fragment.duration_90k,
                flags=int(fragment.flags),
                data=data[part * _PART_BYTES : (part + 1) * _PART_BYTES],
            )
            # The message id makes a retry after a lost acknowledgement harmless.
            msg_id = f"{self._camera_id}:{self._session_id}:{seq}:{part}"
            await self._bus.publish_durable(
                subjects.fragment(self._camera_id), encode(message), msg_id=msg_id, timeout_s=_ACK_TIMEOUT_S
            )

    def _enqueue(self, fragment: Fragment) -> None:
        if self._parameters is None:
            return
        if self._resume_at_keyframe:
            if not fragment.flags & _KEYFRAME:
                self.fragments_lost += 1
                return
            fragment.flags |= _DISCONTINUITY
            self._resume_at_keyframe = False
        self._waiting.append(_Waiting(self._next_seq, self._parameters, fragment))
        self._next_seq += 1
        self._waiting_bytes += fragment_bytes(fragment)
        self._has_waiting.set()
        while self._waiting_bytes > self._max_bytes and self._waiting:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Lose the oldest fragment and those that cannot be decoded without it."""
        self._error = VmsError(ErrorKind.UNAVAILABLE, "the bus is away for longer than memory can bridge")
        self._pop()
        self.fragments_lost += 1
        while self._waiting:
            fragment = self._waiting[0].fragment
            if fragment.flags & _KEYFRAME:
                fragment.flags |= _DISCONTINUITY
                return
            self._pop()
            self.fragments_lost += 1
        self._resume_at_keyframe = True

    def _pop(self) -> None:
        self._waiting_bytes -= fragment_bytes(self._waiting.popleft().fragment)
        if not self._waiting:
            self._has_waiting.clear()


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
