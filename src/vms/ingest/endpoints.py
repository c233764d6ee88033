"""``/health``, ``/metrics`` and ``/status`` of the ingest service. Imported only after recording has started."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.responses import Response

import vms
from vms.common.camera import CameraStatus
from vms.telemetry.metrics import CONTENT_TYPE, MetricsRegistry
from vms.web.access import AccessMiddleware, AccessPolicy
from vms.web.health import Health, health_response
from vms.web.problem import install_problem_handlers


@dataclass(frozen=True, slots=True)
class IngestChecks:
    """What ``/health`` asks: each returns what is wrong, or None."""

    recording: Callable[[], str | None]
    bus: Callable[[], str | None]
    cameras: Callable[[], str | None]


def create_app(
    registry: MetricsRegistry,
    *,
    checks: IngestChecks,
    statuses: Callable[[], list[CameraStatus]],
    policy: AccessPolicy,
) -> FastAPI:
    """The HTTP application."""
    app = FastAPI(title="VMS Enterprise ingest", version=vms.__version__, docs_url=None, redoc_url=None)
    install_problem_handlers(app)
    app.add_middleware(AccessMiddleware, policy=policy)

    @app.get("/health", response_model=Health)
    async def health() -> Response:
        """Whether recording works. Cameras that are off, or a bus that is away, make it degraded, not failed."""
        return health_response(
            "ingest",
            vital={"recording": checks.recording()},
            other={"bus": checks.bus(), "cameras": checks.cameras()},
        )

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Metrics in the text format of Prometheus."""
        return Response(registry.render(), media_type=CONTENT_TYPE)

    @app.get("/status")
    async def status() -> list[CameraStatus]:
        """Live state of every camera of this worker."""
        return statuses()

    return app
