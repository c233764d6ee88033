"""Errors as ``application/problem+json`` (RFC 9457): every error reply of every service, framework errors included."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from vms.common.errors import HTTP_STATUS, ErrorKind, VmsError
from vms.telemetry.logging import get_logger

MEDIA_TYPE: Final = "application/problem+json"

PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "kind"],
    "properties": {
        "type": {"type": "string", "description": "always about:blank: `kind` tells problems apart"},
        "title": {"type": "string", "description": "the phrase of the HTTP status"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "one line: what is wrong and what to do"},
        "kind": {"type": "string", "enum": [kind.value for kind in ErrorKind]},
        "errors": {
            "type": "array",
            "description": "the fields that are wrong",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

_KIND_OF_STATUS: Final = {
    400: ErrorKind.INVALID,
    401: ErrorKind.AUTH,
    403: ErrorKind.FORBIDDEN,
    404: ErrorKind.NOT_FOUND,
    409: ErrorKind.CONFLICT,
    503: ErrorKind.UNAVAILABLE,
}

_log = get_logger("web")


def problem(
    status: int,
    kind: ErrorKind,
    detail: str,
    *,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """One problem reply."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "kind": kind.value,
    }
    if errors:
        body["errors"] = list(errors)
    return JSONResponse(body, status, headers={"Cache-Control": "no-store", **(headers or {})}, media_type=MEDIA_TYPE)


def problem_of(error: VmsError) -> JSONResponse:
    """The reply to a VmsError. A retry hint goes with what passes by itself."""
    headers = {"Retry-After": "2"} if error.kind is ErrorKind.UNAVAILABLE else None
    return problem(HTTP_STATUS[error.kind], error.kind, error.message, headers=headers)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI description of the problem replies of a route."""
    content = {MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def install_problem_handlers(app: FastAPI) -> None:
    """Make ``app`` answer every error with a problem."""
    app.add_exception_handler(VmsError, _on_vms_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_bug)


async def _on_vms_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, VmsError)
    if HTTP_STATUS[error.kind] >= 500:
        _log.warning("request failed", method=request.method, path=request.url.path, kind=error.kind, reason=str(error))
    return problem_of(error)


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = _KIND_OF_STATUS.get(error.status_code, ErrorKind.INVALID if error.status_code < 500 else ErrorKind.INTERNAL)
    detail = str(error.detail)
    if error.status_code == 404 and detail == "Not Found":
        detail = f"no such resource: {request.url.path[:200]}; see /docs"
    elif error.status_code == 405:
        detail = f"{request.method} is not possible here; see the Allow header"
    return problem(error.status_code, kind, detail, headers=error.headers)


async def _on_validation_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return problem(400, ErrorKind.INVALID, "the body is not JSON: check quotes, commas and Content-Type")
    # Only location and message are repeated: the input may be a password.
    errors = [{"field": _field(fault["loc"]), "message": _message(fault)} for fault in faults[:20]]
    detail = "; ".join(f"{entry['field']}: {entry['message']}" for entry in errors[:3])
    return problem(422, ErrorKind.INVALID, detail, errors=errors)


async def _on_bug(request: Request, error: Exception) -> JSONResponse:
    _log.error("request crashed", method=request.method, path=request.url.path, error=type(error).__name__)
    return problem(500, ErrorKind.INTERNAL, "internal error: the service's log holds the cause")


def _field(location: Sequence[object]) -> str:
    parts = [str(part)[:100] for part in location]
    if len(parts) > 1 and parts[0] in {"body", "query", "path", "header"}:
        parts = parts[1:]
    return ".".join(parts)


def _message(fault: Mapping[str, Any]) -> str:
    match fault["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "is not a known field: see /docs"
        case _:
            return str(fault["msg"]).removeprefix("Value error, ")
