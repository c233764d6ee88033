"""Routes about the service itself."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

import vms
from vms.api.pages import storage_url
from vms.telemetry.metrics import CONTENT_TYPE, MetricsRegistry
from vms.web.health import Health, health_response

router: Final = APIRouter(tags=["service"])


@dataclass(frozen=True)
class SystemChecks:
    """What ``/health`` asks: each returns what is wrong, or None."""

    database: Callable[[], Awaitable[str | None]]
    bus: Callable[[], str | None]
    projection: Callable[[], str | None]


class System(BaseModel):
    """What a client needs to find the rest of the system."""

    version: str
    storage_url: str = Field(description="base URL of playlists, clips and media files")


@router.get("/health", response_model=Health)
async def health(request: Request) -> Response:
    """Whether the service works. Without the bus it is degraded: changes are kept and passed on later."""
    checks: SystemChecks = request.app.state.checks
    return health_response(
        "api",
        vital={"database": await checks.database()},
        other={"bus": checks.bus(), "projection": checks.projection()},
    )


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Metrics in the text format of Prometheus."""
    registry: MetricsRegistry = request.app.state.metrics
    return Response(registry.render(), media_type=CONTENT_TYPE)


@router.get("/api/v1/system")
async def system(request: Request) -> System:
    """Version, and where the other services are."""
    return System(version=vms.__version__, storage_url=storage_url(request))
