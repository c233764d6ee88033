"""Puts the API service together and runs it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

import vms
from vms.api.cameras import endpoints as camera_endpoints
from vms.api.cameras.repository import CameraRepository
from vms.api.cameras.service import CameraService, ProbeCamera
from vms.api.config import ApiSettings
from vms.api.metrics import api_metrics
from vms.api.pages import install_pages
from vms.api.projection import CameraProjection
from vms.api.recordings import endpoints as recording_endpoints
from vms.api.recordings.service import RecordingService
from vms.api.status import StatusMirror
from vms.api.system import SystemChecks
from vms.api.system import router as system_router
from vms.bus.client import Bus
from vms.common.camera import CameraInfo
from vms.common.clock import Clock, SystemClock
from vms.common.errors import VmsError
from vms.common.types import CameraId
from vms.db.engine import SessionFactory, make_engine, make_sessions
from vms.db.migrate import ensure_migrated
from vms.proto import subjects
from vms.proto.convert import decode, encode
from vms.proto.messages import ProbeReply, ProbeRequest
from vms.telemetry.logging import get_logger
from vms.web.access import AccessMiddleware, access_policy
from vms.web.limits import BodyLimitMiddleware
from vms.web.problem import install_problem_handlers
from vms.web.server import listen, serve

_log = get_logger("api")
_BUS_POLL_S = 0.5


def create_app(
    settings: ApiSettings,
    bus: Bus,
    sessions: SessionFactory,
    *,
    statuses: StatusMirror,
    projection: CameraProjection,
    volumes: Sequence[str] | None = None,
    clock: Clock | None = None,
) -> FastAPI:
    """The HTTP application. Raises VmsError(INVALID) when its settings would open it to the network unasked.

    ``volumes`` are the names a camera may record to; None accepts any.
    """
    policy = access_policy(
        host=settings.host,
        allowed_hosts=settings.allowed_hosts,
        cors_origins=settings.cors_origins,
        allow_insecure_network=settings.allow_insecure_network,
        service="api",
    )
    repository = CameraRepository(sessions)
    app = FastAPI(
        title="VMS Enterprise API", version=vms.__version__, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.settings = settings
    app.state.cameras = CameraService(
        repository,
        clock=clock or SystemClock(),
        status_of=statuses.of,
        changed=projection.changed,
        probe=_prober(bus, settings.probe_timeout_s),
        volumes=None if volumes is None else frozenset(volumes),
    )
    app.state.recordings = RecordingService(
        bus.request, camera_exists=_existence(repository), timeout_s=settings.storage_timeout_s
    )
    app.state.checks = SystemChecks(
        database=_database_check(repository),
        bus=lambda: None if bus.connected else "not connected",
        projection=lambda: projection.error,
    )
    app.state.metrics = api_metrics(bus, statuses, projection)
    install_problem_handlers(app)
    install_pages(app)
    for router in (system_router, camera_endpoints.router, recording_endpoints.router):
        app.include_router(router)
    app.add_middleware(BodyLimitMiddleware)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Content-Type"],
            expose_headers=["Location"],
        )
    app.add_middleware(AccessMiddleware, policy=policy)
    return app


async def run(settings: ApiSettings, bus: Bus, *, database_url: str, volumes: Sequence[str] | None = None) -> None:
    """Serve the API until cancelled.

    Raises VmsError: CONFLICT when the port is in use, INVALID for settings, and those of ensure_migrated.
    """
    clock = SystemClock()
    engine = make_engine(database_url)
    sessions = make_sessions(engine)
    statuses = StatusMirror(clock=clock, timeout_s=settings.status_timeout_s)
    projection = CameraProjection(
        CameraRepository(sessions), bus.kv(subjects.CAMERAS_BUCKET), interval_s=settings.reconcile_interval_s
    )
    app = create_app(settings, bus, sessions, statuses=statuses, projection=projection, volumes=volumes, clock=clock)
    sock = listen(settings.host, settings.port, service="api")
    try:
        await ensure_migrated(database_url)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_follow_statuses(bus, statuses))
            tasks.create_task(projection.run())
            tasks.create_task(_reconcile_after_reconnection(bus, projection))
            _log.info("listening", host=settings.host, port=sock.getsockname()[1])
            await serve(app, sock)
    finally:
        sock.close()
        await engine.dispose()


async def _follow_statuses(bus: Bus, statuses: StatusMirror) -> None:
    await statuses.follow(bus.kv(subjects.STATUS_BUCKET).watch())


async def _reconcile_after_reconnection(bus: Bus, projection: CameraProjection) -> None:
    """The bus may have come back as another, empty one."""
    connections = bus.stats.connections
    while True:
        await asyncio.sleep(_BUS_POLL_S)
        if bus.connected and bus.stats.connections != connections:
            connections = bus.stats.connections
            projection.reconcile_soon()


def _prober(bus: Bus, timeout_s: float) -> ProbeCamera:
    async def probe(url: str, username: str, password: str) -> CameraInfo:
        request = ProbeRequest(url=url, username=username, password=password, timeout_s=timeout_s)
        subject = subjects.command(subjects.INGEST, subjects.PROBE)
        # The camera's own time limit comes first: its error says more.
        return decode(ProbeReply, await bus.request(subject, encode(request), timeout_s + 2)).info

    return probe


def _existence(repository: CameraRepository) -> Callable[[CameraId], Awaitable[bool]]:
    async def exists(camera_id: CameraId) -> bool:
        return await repository.config(camera_id) is not None

    return exists


def _database_check(repository: CameraRepository) -> Callable[[], Awaitable[str | None]]:
    async def check() -> str | None:
        try:
            await repository.ping()
        except VmsError as error:
            return error.message
        return None

    return check
