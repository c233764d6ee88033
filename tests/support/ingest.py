"""Stand-ins for what ingest stands on: a disk that fails at will, a bus in memory, cameras without network."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TypedDict, cast

from tests.support.recordings import CAMERA, PARAMS, START_US, unit

from vms.bus.client import Bus
from vms.bus.kv import KvChange, KvOperation
from vms.bus.outbox import Outbox
from vms.bus.subscription import BusMessage
from vms.common.camera import CameraConfig
from vms.common.clock import Clock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, Container, FrameFlag, VideoParameters
from vms.common.types import CameraId
from vms.format.model import (
    Fragment,
    FragmentWritten,
    IndexRecord,
    RecordingEvent,
    SegmentClosed,
    SegmentOpened,
)
from vms.format.volume import Job, OnError
from vms.media.rtsp.session import SessionStats
from vms.proto.convert import encode

AWAY = VmsError(ErrorKind.UNAVAILABLE, "not connected to the bus")
DISK_FULL = VmsError(ErrorKind.STORAGE, "No space left on device")


def camera(name: str = CAMERA, /, **changes: object) -> CameraConfig:
    """A camera's configuration."""
    return CameraConfig.model_validate({"id": name, "name": name, "url": f"rtsp://192.0.2.1/{name}", **changes})


def stream(frames: int, *, gop: int = 25, first: int = 0, discontinuity: bool = False) -> list[AccessUnit]:
    """Frames of 25 fps with a keyframe every ``gop``; the first one may begin a new connection."""
    units = [unit(first + n, key=n % gop == 0) for n in range(frames)]
    if discontinuity:
        units[0].flags |= FrameFlag.DISCONTINUITY
    return units


class FakeVolume:
    """A writer thread that runs its jobs when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Job, OnError | None]] = []
        self.is_full = False
        self.runs_at_once = False

    def submit(
        self, job: Callable[[], None], _nbytes: int, on_error: Callable[[Exception], None] | None = None
    ) -> bool:
        if self.is_full:
            return False
        self.jobs.append((job, on_error))
        if self.runs_at_once:
            self.run()
        return True

    def run(self) -> None:
        """Do what was queued."""
        while self.jobs:
            job, on_error = self.jobs.pop(0)
            try:
                job()
            except Exception as error:  # noqa: BLE001 - as the real one
                if on_error is not None:
                    on_error(error)


class FakeWriter:
    """A recording writer that keeps what it is given; ``failures`` are raised first, one per call."""

    def __init__(self) -> None:
        self.written: list[Fragment] = []
        self.parameters: list[VideoParameters] = []
        self.failures: list[Exception] = []
        self.syncs = 0
        self.closes = 0
        self.before_write: Callable[[], None] = lambda: None

    def write(self, params: VideoParameters, fragment: Fragment, _now: float) -> list[RecordingEvent]:
        self.before_write()
        if self.failures:
            raise self.failures.pop(0)
        opened = [segment_opened()] if not self.written else []
        self.written.append(fragment)
        self.parameters.append(params)
        return [*opened, fragment_written(fragment)]

    def sync(self, _now: float) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.syncs += 1

    def close(self) -> list[RecordingEvent]:
        if self.failures:
            raise self.failures.pop(0)
        self.closes += 1
        return [segment_closed()]

    @property
    def frames(self) -> list[int]:
        """Sequence numbers of all frames, in the order in which they were written."""
        return [unit.seq for fragment in self.written for unit in fragment.units]


class _Facts(TypedDict):
    camera_id: CameraId
    path: PurePosixPath
    container: Container
    params: VideoParameters
    start_us: int
    end_us: int
    size_bytes: int
    frames: int
    fragments: int


def _facts(size_bytes: int) -> _Facts:
    return {
        "camera_id": CAMERA,
        "path": PurePosixPath(f"cameras/{CAMERA}/2026-03-01/video_10.mp4"),
        "container": Container.MP4,
        "params": PARAMS,
        "start_us": START_US,
        "end_us": START_US + 1_000_000,
        "size_bytes": size_bytes,
        "frames": 25,
        "fragments": 1,
    }


def fragment_written(fragment: Fragment, *, size_bytes: int = 1000) -> FragmentWritten:
    """What the writer reports of a fragment."""
    frames = max(len(fragment.units), 1)
    record = IndexRecord(fragment.wall_us, 0, 0, 100, fragment.duration_90k, frames, int(fragment.flags))
    return FragmentWritten(**_facts(size_bytes), record=record)


def segment_opened(*, size_bytes: int = 0) -> SegmentOpened:
    """A new file."""
    return SegmentOpened(**_facts(size_bytes))


def segment_closed(*, size_bytes: int = 5000) -> SegmentClosed:
    """A complete file."""
    return SegmentClosed(**_facts(size_bytes))


@dataclass
class FakeOutbox:
    """Announcements as they were handed over."""

    sent: list[tuple[str, bytes, str, bool]] = field(default_factory=list)
    waiting: int = 0
    dropped: int = 0

    def put(self, subject: str, payload: bytes, msg_id: str, *, droppable: bool = False) -> None:
        self.sent.append((subject, payload, msg_id, droppable))

    def as_outbox(self) -> Outbox:
        """This, for the type checker."""
        return cast("Outbox", self)


class FakeBucket:
    """A key-value bucket in memory, with a watch that the test feeds."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.away = False
        self.changes: asyncio.Queue[KvChange] = asyncio.Queue()

    async def put(self, key: str, value: bytes) -> int:
        if self.away:
            raise AWAY
        self.puts.append(key)
        self.values[key] = value
        return len(self.puts)

    async def watch(self) -> AsyncGenerator[KvChange]:
        while True:
            yield await self.changes.get()

    def tell(self, *configs: CameraConfig) -> None:
        """Report cameras as put."""
        for config in configs:
            self.changes.put_nowait(KvChange(KvOperation.PUT, config.id, encode(config), 1))

    def end_snapshot(self) -> None:
        """Report that all there is has been reported."""
        self.changes.put_nowait(KvChange(KvOperation.SNAPSHOT_END))

    def delete(self, *keys: str, revision: int = 9) -> None:
        """Report keys as deleted; with revision 0 as gone at a reconnection."""
        for key in keys:
            self.changes.put_nowait(KvChange(KvOperation.DELETE, key, b"", revision))


class FakeRegistration:
    """A service that can be closed."""

    def __init__(self) -> None:
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True


class FakeBus:
    """Keeps what is published. While ``away`` nothing gets through; ``failures`` are raised first, one per message."""

    def __init__(self) -> None:
        self.away = False
        self.published: list[tuple[str, bytes]] = []
        self.stored: list[tuple[str, bytes, str | None]] = []
        self.failures: list[VmsError | None] = []
        self.loses_acknowledgements = False  # then what fails has been stored all the same
        self.buckets: dict[str, FakeBucket] = {}
        self.services: dict[str, Callable[[BusMessage], AsyncIterator[bytes]]] = {}
        self.registrations: list[FakeRegistration] = []

    @property
    def connected(self) -> bool:
        return not self.away

    def publish(self, subject: str, payload: bytes) -> bool:
        if self.away:
            return False
        self.published.append((subject, payload))
        return True

    async def publish_durable(
        self, subject: str, payload: bytes, *, msg_id: str | None = None, timeout_s: float = 5.0
    ) -> int:
        del timeout_s
        await asyncio.sleep(0)
        if self.away:
            raise AWAY
        failure = self.failures.pop(0) if self.failures else None
        is_new = msg_id is None or msg_id not in {stored for _, _, stored in self.stored}
        if is_new and (failure is None or self.loses_acknowledgements):
            self.stored.append((subject, payload, msg_id))
        if failure is not None:
            raise failure
        return len(self.stored)

    def kv(self, bucket: str) -> FakeBucket:
        return self.buckets.setdefault(bucket, FakeBucket())

    async def serve_many(
        self, subject: str, handler: Callable[[BusMessage], AsyncIterator[bytes]], *, concurrency: int = 4
    ) -> FakeRegistration:
        del concurrency
        self.services[subject] = handler
        self.registrations.append(FakeRegistration())
        return self.registrations[-1]

    def as_bus(self) -> Bus:
        """This, for the type checker."""
        return cast("Bus", self)


class FakeRtspSession:
    """A camera that connects, sends and ends as the test tells it."""

    made: "list[FakeRtspSession]" = []  # noqa: RUF012 - reset by the fixture that installs the class

    def __init__(
        self,
        url: str,
        *,
        username: str,
        password: str,
        reader: object,
        clock: Clock,
        on_parameters: Callable[[VideoParameters], None],
        on_unit: Callable[[AccessUnit], None],
        connect_timeout_s: float,
        stall_timeout_s: float,
    ) -> None:
        del reader, connect_timeout_s, stall_timeout_s
        self.url = url
        self.credentials = (username, password)
        self.stats = SessionStats()
        self._clock = clock
        self._on_parameters = on_parameters
        self._on_unit = on_unit
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.has_left = False
        self.made.append(self)

    async def run(self) -> None:
        try:
            await self._ended
        finally:
            self.has_left = True

    def parameters(self, parameters: VideoParameters = PARAMS) -> None:
        self._on_parameters(parameters)

    def send(self, units: Iterable[AccessUnit]) -> None:
        for one in units:
            self.stats.units += 1
            self.stats.bytes += len(one.payload)
            self.stats.last_unit_us = self._clock.now_us()
            self._on_unit(one)

    def end(self, kind: ErrorKind, message: str = "the camera went away") -> None:
        self._ended.set_exception(VmsError(kind, message))

    def crash(self, error: Exception) -> None:
        self._ended.set_exception(error)
