"""Puts the storage service together and runs it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, Self

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

import vms
from vms.bus.client import Bus
from vms.bus.outbox import Outbox
from vms.common.clock import Clock, SystemClock
from vms.common.errors import VmsError
from vms.common.volumes import VolumeSettings, default_volumes
from vms.db.engine import SessionFactory, make_engine, make_sessions
from vms.db.migrate import ensure_migrated
from vms.proto import subjects
from vms.storage.catalogue import DURABLE as CATALOGUE_DURABLE
from vms.storage.catalogue import Catalogue
from vms.storage.checksums import ChecksumWriter
from vms.storage.commands import RecordingCommands
from vms.storage.config import StorageSettings
from vms.storage.endpoints import router, service_router
from vms.storage.keeper import Keeper
from vms.storage.metrics import StorageFigures, StorageParts, storage_metrics
from vms.storage.playback import Playback
from vms.storage.policies import CameraPolicies
from vms.storage.reconcile import Reconciler
from vms.storage.repository import CatalogueRepository
from vms.storage.segments import SegmentFacts
from vms.storage.sink import DURABLE as SINK_DURABLE
from vms.storage.sink import BusSink
from vms.storage.threads import FileThreads
from vms.storage.volumes import Volumes
from vms.telemetry.logging import get_logger
from vms.web.access import AccessMiddleware, access_policy, page_origins
from vms.web.limits import BodyLimitMiddleware
from vms.web.problem import install_problem_handlers
from vms.web.server import listen, serve

_RETRY_S: Final = 5.0
_SEND_REST_S: Final = 1.0
_ACK_WAIT_S: Final = 3.0  # how soon a message comes again that a crashed process had in hand

_log = get_logger("storage")

Checks = tuple[dict[str, str | None], dict[str, str | None]]
"""Vital checks and the others: name to what is wrong, or None."""


class Storage:
    """The parts of the service, wired to each other. ``with`` starts and ends its threads."""

    def __init__(
        self,
        settings: StorageSettings,
        bus: Bus,
        sessions: SessionFactory,
        *,
        volumes: Sequence[VolumeSettings],
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self.settings = settings
        self.bus = bus
        self.volumes = Volumes(volumes)
        self.threads = FileThreads(settings.file_threads)
        self.checksums = ChecksumWriter()
        self.repository = CatalogueRepository(sessions)
        self.policies = CameraPolicies(default_days=settings.retention_default_days)
        self.playback = Playback(self.repository, self.volumes, self.threads)
        self.catalogue = Catalogue(
            self.repository, self.volumes, self.threads, clock=clock, on_closed=self._add_checksum
        )
        self.keeper = Keeper(self.repository, self.volumes, self.threads, self.policies, clock=clock)
        self.outbox = Outbox(bus)
        self.sink = BusSink(
            self.outbox,
            self.volumes,
            self.policies,
            clock=clock,
            rotation_s=settings.rotation_s,
            queue_max_bytes=settings.queue_max_bytes,
        )
        self.reconciler = Reconciler(
            self.repository,
            self.volumes,
            self.threads,
            clock=clock,
            checksums=self.checksums if settings.checksums else None,
        )
        self._threads = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._threads.enter_context(self.threads)
        self._threads.enter_context(self.checksums)
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.close()

    def _add_checksum(self, facts: SegmentFacts) -> None:
        if self.settings.checksums and facts.volume in self.volumes.names:
            self.checksums.add(self.volumes.media_path(facts))

    async def work(self) -> None:
        """Everything but HTTP, until cancelled."""
        commands = RecordingCommands(self.repository, self.playback)
        await self.bus.serve(subjects.command(subjects.STORAGE, subjects.LIST_RECORDINGS), commands.list)
        await self.bus.serve(subjects.command(subjects.STORAGE, subjects.GET_RECORDING), commands.get)
        try:
            await self._run_tasks()
        finally:
            # Nothing comes from the bus any more: what is open becomes complete, and is announced if that goes fast.
            await self.sink.close()
            await self._send_rest()

    async def _run_tasks(self) -> None:
        consume = self.bus.consume
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.sink.run())
            tasks.create_task(self.outbox.run())
            tasks.create_task(self.policies.follow(self.bus.kv(subjects.CAMERAS_BUCKET).watch()))
            for stream, durable, subject, handler in (
                (subjects.RECORDING_STREAM, CATALOGUE_DURABLE, subjects.RECORDING_ALL, self.catalogue.apply),
                (subjects.FRAGMENTS_STREAM, SINK_DURABLE, subjects.FRAGMENTS_ALL, self.sink.take),
            ):
                tasks.create_task(consume(stream, durable, subject, handler, ack_wait_s=_ACK_WAIT_S))
            tasks.create_task(
                self.keeper.run(
                    first_s=self.settings.retention_first_s,
                    age_interval_s=self.settings.retention_interval_s,
                    pressure_interval_s=self.settings.pressure_interval_s,
                )
            )
            if self.settings.reconcile:
                tasks.create_task(self._reconcile())

    async def _send_rest(self) -> None:
        task = asyncio.create_task(self.outbox.run())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SEND_REST_S):
                while self.outbox.waiting:  # noqa: ASYNC110 - the outbox has no event for being empty
                    await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _reconcile(self) -> None:
        while True:
            try:
                report = await self.reconciler.recent()
            except VmsError as error:
                _log.warning("catalogue not compared with the disk yet", reason=error.message)
                await asyncio.sleep(_RETRY_S)
                continue
            _log.info(
                "catalogue compared with the disk", files=report.files, added=report.added, removed=report.removed
            )
            return

    async def checks(self) -> Checks:
        """What ``/health`` says."""
        vital: dict[str, str | None] = {"database": None}
        try:
            await self.repository.ping()
        except VmsError as error:
            vital["database"] = error.message
        for name in self.volumes.names:
            root = self.volumes.root(name)
            vital[f"volume {name}"] = None if await self.threads.run(root.is_dir) else f"{root} is not there"
        return vital, {"bus": None if self.bus.connected else "not connected"}

    async def figures(self) -> StorageFigures:
        """Numbers for the next scrape."""
        totals = await self.repository.totals()
        states = {name: await self.threads.run(self.volumes.state, name) for name in self.volumes.names}
        return StorageFigures(
            files={name: float(count) for name, (count, _) in totals.items()},
            size_bytes={name: float(size) for name, (_, size) in totals.items()},
            free_bytes={name: float(state.free_bytes) for name, state in states.items() if state is not None},
        )


def create_app(storage: Storage) -> FastAPI:
    """The HTTP application. Raises VmsError(INVALID) when its settings would open it to the network unasked."""
    settings = storage.settings
    policy = access_policy(
        host=settings.host,
        allowed_hosts=settings.allowed_hosts,
        cors_origins=settings.cors_origins,
        allow_insecure_network=settings.allow_insecure_network,
        service="storage",
    )
    app = FastAPI(
        title="VMS Enterprise storage", version=vms.__version__, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.settings = settings
    app.state.playback = storage.playback
    app.state.repository = storage.repository
    app.state.checks = storage.checks
    app.state.metrics = _metrics(storage)
    install_problem_handlers(app)
    app.include_router(service_router)
    app.include_router(router)
    app.add_middleware(BodyLimitMiddleware)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(settings.cors_origins),
        allow_origin_regex=page_origins(policy, settings.api_port),
        allow_methods=["GET", "HEAD"],
        allow_headers=["Range"],
        expose_headers=["Content-Length", "Content-Range", "Accept-Ranges"],
    )
    app.add_middleware(AccessMiddleware, policy=policy)
    return app


async def run(settings: StorageSettings, bus: Bus, *, database_url: str, data_dir: Path) -> None:
    """Keep and serve recordings until cancelled; ``data_dir`` is the one volume when none are configured.

    Raises VmsError: CONFLICT when the port is in use, INVALID for settings, and those of ensure_migrated.
    """
    volumes = settings.volumes or default_volumes(data_dir)
    engine = make_engine(database_url)
    with Storage(settings, bus, make_sessions(engine), volumes=volumes) as storage:
        app = create_app(storage)
        sock = listen(settings.host, settings.port, service="storage")
        try:
            await ensure_migrated(database_url)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(storage.work())
                _log.info("listening", host=settings.host, port=sock.getsockname()[1])
                await serve(app, sock)
        finally:
            sock.close()
            await engine.dispose()


def _metrics(storage: Storage) -> Callable[[], Awaitable[bytes]]:
    figures = StorageFigures()
    parts = StorageParts(storage.bus, storage.catalogue, storage.keeper, storage.sink, storage.checksums)
    registry = storage_metrics(parts, figures)

    async def render() -> bytes:
        try:
            found = await storage.figures()
        except VmsError:  # the other metrics are still worth having, and /health says what is wrong
            found = StorageFigures()
        figures.files, figures.size_bytes, figures.free_bytes = found.files, found.size_bytes, found.free_bytes
        return registry.render()

    return render
