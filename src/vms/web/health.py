"""The body of ``GET /health``, the same in every service."""

from collections.abc import Mapping
from typing import Literal

from fastapi.responses import JSONResponse
from pydantic import BaseModel

import vms


class Health(BaseModel):
    """Whether a service works, and what is wrong where it does not.

    ``degraded`` means that it does its work without something it should have; only ``failed`` answers 503.
    """

    status: Literal["ok", "degraded", "failed"]
    service: str
    version: str
    checks: dict[str, str]


def health_response(service: str, *, vital: Mapping[str, str | None], other: Mapping[str, str | None]) -> JSONResponse:
    """Health from checks: name to what is wrong, or None. A failed vital check makes the service failed."""
    failed = any(fault is not None for fault in vital.values())
    degraded = any(fault is not None for fault in other.values())
    health = Health(
        status="failed" if failed else "degraded" if degraded else "ok",
        service=service,
        version=vms.__version__,
        checks={name: fault or "ok" for name, fault in {**vital, **other}.items()},
    )
    return JSONResponse(health.model_dump(), 503 if failed else 200, headers={"Cache-Control": "no-store"})
