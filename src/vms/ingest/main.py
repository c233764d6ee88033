"""Puts the ingest service together and runs it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vms.bus.client import Bus
from vms.bus.leases import LeaseKeeper
from vms.bus.outbox import Outbox
from vms.bus.subscription import BusMessage
from vms.common.camera import CameraState
from vms.common.clock import Clock, SystemClock
from vms.common.errors import VmsError
from vms.common.lockfile import hold_lock
from vms.common.types import new_id
from vms.common.volumes import VolumeSettings
from vms.format.volume import VolumeWriter
from vms.ingest.cameras import CameraManager
from vms.ingest.config import IngestSettings
from vms.ingest.metrics import IngestMetrics
from vms.ingest.sessions import SessionFactory, Volume
from vms.ingest.status import StatusPublisher
from vms.media.rtsp.probe import probe
from vms.media.rtsp.tick_reader import TickReader
from vms.proto import subjects
from vms.proto.convert import decode, encode
from vms.proto.messages import ProbeReply, ProbeRequest
from vms.telemetry.logging import get_logger
from vms.telemetry.metrics import MetricsRegistry

if TYPE_CHECKING:
    from fastapi import FastAPI

_log = get_logger("vms.ingest")
_DRAIN_S: Final = 0.8
_DRAIN_POLL_S: Final = 0.02
_LISTEN_RETRY_S: Final = 5.0
_WEB_DELAY_S: Final = 1.5  # the web framework is loaded when the cameras are connected


async def run(settings: IngestSettings, bus: Bus, *, data_dir: Path, volumes: Sequence[VolumeSettings]) -> None:
    """Record until cancelled. Raises VmsError(CONFLICT) when another ingest has this data directory or the port."""
    clock = SystemClock()
    state_dir = data_dir / "ingest"
    state_dir.mkdir(mode=0o700, exist_ok=True)
    with hold_lock(state_dir / "lock", what=f"ingest of {data_dir}"):
        worker = settings.worker or _worker_name(state_dir / "worker")
        async with _open_volumes(volumes, settings, clock) as open_volumes:
            reader = TickReader(tick_s=settings.tick_s)
            await _Service(settings, bus, worker, open_volumes, reader, clock).run(state_dir)


class _Service:
    """The parts of a running ingest and how they are connected."""

    def __init__(
        self,
        settings: IngestSettings,
        bus: Bus,
        worker: str,
        volumes: dict[str, Volume],
        reader: TickReader,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._worker = worker
        self._volumes = volumes
        self._reader = reader
        self._clock = clock
        self._outbox = Outbox(bus)

    async def run(self, state_dir: Path) -> None:
        """Run every part until cancelled; sessions end first, then what they announced is sent."""
        settings, bus, clock = self._settings, self._bus, self._clock
        status = StatusPublisher(
            bus, self._outbox, worker=self._worker, interval_s=settings.status_interval_s, clock=clock
        )
        leases = LeaseKeeper(
            bus.kv(subjects.LEASES_BUCKET),
            self._worker,
            clock=clock,
            on_change=lambda _: self._manager.leases_changed(),
            ttl_s=settings.lease_ttl_s,
            renew_s=settings.lease_ttl_s / 3,
            assume_when_unreachable=True,
        )
        factory = SessionFactory(
            settings=settings,
            bus=bus,
            outbox=self._outbox,
            volumes=self._volumes,
            reader=self._reader,
            clock=clock,
            worker=self._worker,
        )
        manager = CameraManager(
            factory,
            bus=bus,
            leases=leases,
            desired_file=state_dir / "cameras.json",
            clock=clock,
            on_change=status.changed,
        )
        self._manager = manager
        await bus.serve(subjects.command(subjects.INGEST, subjects.PROBE), self._probe)
        async with self._outbox_running(), asyncio.TaskGroup() as tasks:
            tasks.create_task(manager.run(), name="cameras")
            tasks.create_task(leases.run(), name="leases")
            tasks.create_task(status.run(manager), name="status")
            tasks.create_task(self._serve_http(), name="http")

    @contextlib.asynccontextmanager
    async def _outbox_running(self) -> AsyncIterator[None]:
        """The outbox lives a moment longer than the sessions: files closed at the end are announced too."""
        task = asyncio.create_task(self._outbox.run(), name="outbox")
        try:
            yield
        finally:
            await asyncio.shield(self._drain_outbox())
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _drain_outbox(self) -> None:
        """Wait a moment for what is on its way. What is lost here the storage service finds on disk."""
        deadline = self._clock.monotonic() + _DRAIN_S
        # Once, at the end of the process: an event would cost the outbox a line for every message.
        while self._outbox.waiting and self._bus.connected and self._clock.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_DRAIN_POLL_S)

    async def _probe(self, message: BusMessage) -> bytes:
        request = decode(ProbeRequest, message.payload)
        info = await probe(
            request.url,
            username=request.username,
            password=request.password,
            timeout_s=request.timeout_s,
            clock=self._clock,
        )
        return encode(ProbeReply(info))

    async def _serve_http(self) -> None:
        await asyncio.sleep(_WEB_DELAY_S)
        # Loading the web framework takes half a second of CPU: a thread lets frames through meanwhile.
        app = await asyncio.to_thread(self._make_app)
        from vms.web.server import serve

        await serve(app, await self._listen())

    async def _listen(self) -> socket.socket:
        """The HTTP socket. A port that somebody else has costs the metrics, never the recording: it is tried again."""
        from vms.web.server import listen

        reported = False
        while True:
            try:
                return listen(self._settings.host, self._settings.port, service="ingest")
            except VmsError as error:
                if not reported:
                    _log.error("recording without health and metrics", reason=error.message, retry_s=_LISTEN_RETRY_S)
                reported = True
            await asyncio.sleep(_LISTEN_RETRY_S)

    def _make_app(self) -> "FastAPI":
        from vms.ingest.endpoints import IngestChecks, create_app
        from vms.web.access import access_policy

        registry = MetricsRegistry()
        registry.add(IngestMetrics(lambda: self._manager.sessions, self._volumes, self._outbox))
        checks = IngestChecks(
            recording=self._recording_fault,
            bus=lambda: None if self._bus.connected else "not connected",
            cameras=self._cameras_fault,
        )
        policy = access_policy(
            host=self._settings.host,
            allowed_hosts=self._settings.allowed_hosts,
            cors_origins=(),
            allow_insecure_network=self._settings.allow_insecure_network,
            service="ingest",
        )
        return create_app(
            registry, checks=checks, statuses=lambda: [s.status() for s in self._manager.sessions], policy=policy
        )

    def _recording_fault(self) -> str | None:
        faults = {str(s.track.error) for s in self._manager.sessions if s.track is not None and s.track.error}
        return "; ".join(sorted(faults)) or None

    def _cameras_fault(self) -> str | None:
        down = sorted(s.config.id for s in self._manager.sessions if s.state.state in _NOT_UP)
        return f"not online: {', '.join(down[:10])}{' …' if len(down) > 10 else ''}" if down else None


_NOT_UP: Final = frozenset({CameraState.OFFLINE, CameraState.AUTH_FAILED, CameraState.CONNECTING})


@contextlib.asynccontextmanager
async def _open_volumes(
    volumes: Sequence[VolumeSettings], settings: IngestSettings, clock: Clock
) -> AsyncIterator[dict[str, Volume]]:
    """Volumes with their writer threads; what is queued at the end is written before this ends."""
    opened = {
        volume.name: Volume(
            volume.name, volume.path.absolute(), VolumeWriter(volume.name, settings.queue_max_bytes, clock)
        )
        for volume in volumes
    }
    for volume in opened.values():
        volume.writer.start()
    try:
        yield opened
    finally:
        await asyncio.shield(asyncio.gather(*(asyncio.to_thread(v.writer.stop) for v in opened.values())))


def _worker_name(path: Path) -> str:
    """The name of this worker, made once: after a restart it takes its own leases up again at once."""
    try:
        name = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        name = ""
    if not name:
        name = new_id("worker")
        try:
            path.write_text(f"{name}\n", encoding="ascii")
        except OSError as error:
            # A full disk: then the leases of this life expire before the next one has them.
            _log.warning("cannot remember worker name", path=str(path), error=error.strerror)
    return name
