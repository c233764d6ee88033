"""Makes a session with everything that belongs to it, and runs it as one task."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vms.bus.client import Bus, Registration
from vms.bus.outbox import Outbox
from vms.bus.subscription import BusMessage
from vms.common.camera import CameraConfig, Sink
from vms.common.clock import Clock
from vms.common.errors import VmsError
from vms.common.types import StreamId, new_id, stream_id
from vms.format.latest import latest_end_us
from vms.format.recording import RecordingWriter
from vms.format.volume import VolumeWriter
from vms.ingest.announcements import Announcer
from vms.ingest.config import IngestSettings
from vms.ingest.gaps import GapTracker
from vms.ingest.live import LiveStream
from vms.ingest.recorder import StreamRecorder
from vms.ingest.session import CameraSession
from vms.ingest.track import BusTrack, DiskTrack, RecordingTrack
from vms.media.rtsp.tick_reader import TickReader
from vms.proto import subjects
from vms.proto.convert import decode
from vms.proto.messages import GopRequest
from vms.telemetry.logging import get_logger

_LOOK_BACK_TIMEOUT_S: Final = 2.0  # a dead network disk must not keep the camera from connecting
_log = get_logger("vms.ingest.sessions")


@dataclass(frozen=True, slots=True)
class Volume:
    """A directory that recordings live on, with its writer thread."""

    name: str
    path: Path
    writer: VolumeWriter


@dataclass(frozen=True, slots=True)
class SessionFactory:
    """What sessions have in common."""

    settings: IngestSettings
    bus: Bus
    outbox: Outbox
    volumes: Mapping[str, Volume]
    reader: TickReader
    clock: Clock
    worker: str

    async def make(self, config: CameraConfig, on_change: Callable[[CameraSession], None]) -> "RunningSession":
        """A session for ``config``, not running yet."""
        stream = stream_id(config.id)
        live = LiveStream(stream, self.bus, self.clock)
        track = await self._track(config) if config.record else None
        session = CameraSession(
            config,
            settings=self.settings,
            reader=self.reader,
            clock=self.clock,
            worker=self.worker,
            track=track,
            live=live,
            on_change=on_change,
        )
        return RunningSession(session, live, stream, self.bus)

    async def _track(self, config: CameraConfig) -> RecordingTrack:
        settings = self.settings
        if config.sink is Sink.BUS:
            return BusTrack(
                config.id,
                container=config.container,
                session_id=new_id("ses"),
                bus=self.bus,
                clock=self.clock,
                fragment_s=settings.fragment_s,
                max_bytes=settings.ring_max_bytes,
            )
        volume = self.volumes.get(config.volume)
        if volume is None:
            # Footage on the wrong disk can be moved; footage that was never written cannot.
            volume = next(iter(self.volumes.values()))
            _log.error("unknown volume", camera_id=config.id, volume=config.volume, using=volume.name)
        gaps = GapTracker(config.id, await _look_back(volume.path, config))
        announcer = Announcer(
            config.id, volume=volume.name, worker=self.worker, outbox=self.outbox, gaps=gaps, clock=self.clock
        )
        recorder = StreamRecorder(
            RecordingWriter(
                volume.path,
                config.id,
                container=config.container,
                rotation_s=settings.rotation_s,
                sync_interval_s=settings.sync_interval_s,
            ),
            volume.writer,
            clock=self.clock,
            fragment_s=settings.fragment_s,
            hold_s=settings.ring_s,
            on_event=announcer.handle,
            on_interruption=gaps.interrupted,
        )
        return DiskTrack(recorder, announcer)


class RunningSession:
    """A session and what serves its live frames; ``run`` owns both."""

    def __init__(self, session: CameraSession, live: LiveStream, stream: StreamId, bus: Bus) -> None:
        self.session = session
        self.live = live
        self._stream = stream
        self._bus = bus

    async def run(self) -> None:
        """Run until cancelled; then files are complete and nothing is left behind."""
        registration: Registration | None = None
        try:
            registration = await self._bus.serve_many(subjects.media_gop(self._stream), self._gop, concurrency=1)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.session.run(), name=f"session {self.session.config.id}")
                if self.session.track is not None:
                    tasks.create_task(self.session.track.run(), name=f"track {self.session.config.id}")
        finally:
            if registration is not None:
                with contextlib.suppress(VmsError):
                    await registration.close()

    async def _gop(self, message: BusMessage) -> AsyncIterator[bytes]:
        for reply in self.live.open(decode(GopRequest, message.payload), self.session.ring):
            yield reply


async def _look_back(root: Path, config: CameraConfig) -> int | None:
    try:
        async with asyncio.timeout(_LOOK_BACK_TIMEOUT_S):
            return await asyncio.to_thread(latest_end_us, root, config.id)
    except TimeoutError:
        return None
