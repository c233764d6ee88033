"""HTTP client of the command line: the standard library's, because it only talks to our own services."""

import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Final, cast

from vms.common.errors import HTTP_STATUS, ErrorKind, VmsError

_TIMEOUT_S: Final = 30.0
_CHUNK_BYTES: Final = 1 << 20
_KIND_OF_STATUS: Final = {status: kind for kind, status in HTTP_STATUS.items()}

# Our own services, mostly on this machine: a proxy that is set up for the web does not reach them.
OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(method: str, url: str, body: object | None = None) -> Any:  # noqa: ANN401 - JSON
    """Send JSON, return the decoded reply. Raises VmsError with the service's own one-line explanation."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Accept": "application/json"}
    if data is not None:
        headers["Content-Type"] = "application/json"
    with _open(_request(url, data, method, headers)) as reply:
        text = _read(reply)
    try:
        return json.loads(text) if text else None
    except ValueError:
        raise _not_ours(url) from None


def pages(url: str, key: str = "items") -> Iterator[dict[str, Any]]:
    """All items of a paginated list."""
    cursor: str | None = None
    while True:
        sep = "&" if "?" in url else "?"
        page = call("GET", url if cursor is None else f"{url}{sep}cursor={urllib.parse.quote(cursor, safe='')}")
        if not isinstance(page, dict) or key not in page:
            raise _not_ours(url)
        yield from page[key]
        cursor = page.get("next_cursor")
        if not cursor:
            return


def download(url: str, target: Path) -> int:
    """Save a reply as ``target``; it appears there only when it is whole. Returns its size in bytes."""
    partial = target.with_name(target.name + ".part")
    try:
        with _open(_request(url)) as reply, partial.open("wb") as out:
            expected = int(reply.headers.get("Content-Length", -1))
            size = 0
            while chunk := _read(reply, _CHUNK_BYTES):
                out.write(chunk)
                size += len(chunk)
        if expected not in {-1, size}:
            raise VmsError(ErrorKind.CLOSED, f"the download ended after {size} of {expected} bytes; try again")
        partial.replace(target)
    except OSError as error:
        raise VmsError(ErrorKind.STORAGE, f"{target} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return size


def _read(reply: HTTPResponse, size: int | None = None) -> bytes:
    try:
        return reply.read(size)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise VmsError(ErrorKind.CLOSED, f"the connection broke before the reply was complete ({reason})") from None


def _request(
    url: str, data: bytes | None = None, method: str = "GET", headers: dict[str, str] | None = None
) -> urllib.request.Request:
    # The address comes from an option; file: and the like must not be reachable through it.
    if not url.startswith(("http://", "https://")):
        raise VmsError(ErrorKind.INVALID, "the address of a service starts with http:// or https://")
    return urllib.request.Request(url, data=data, method=method, headers=headers or {})  # noqa: S310 - checked above


def _open(request: urllib.request.Request) -> HTTPResponse:
    try:
        return cast("HTTPResponse", OPENER.open(request, timeout=_TIMEOUT_S))
    except urllib.error.HTTPError as error:
        raise _problem(error) from None
    except (OSError, HTTPException, ValueError) as error:  # URLError is an OSError; a malformed host is a ValueError
        reason = getattr(error, "reason", error)
        message = (
            f"no answer from {_address(request.full_url)} ({reason}): is the system running? Start it with ./vms up"
        )
        raise VmsError(ErrorKind.UNREACHABLE, message) from None


def _not_ours(url: str) -> VmsError:
    return VmsError(ErrorKind.PROTOCOL, f"what answers at {_address(url)} is not this system's API: give its address")


def _address(url: str) -> str:
    """Host and port, without credentials that somebody may have put before them."""
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2]


def _problem(error: urllib.error.HTTPError) -> VmsError:
    kind = _KIND_OF_STATUS.get(error.code, ErrorKind.INTERNAL)
    try:
        with error:
            body = json.loads(error.read())
        message = str(body.get("detail") or body.get("title") or error.reason)
        fields = body.get("errors") or []
        if fields:
            message = "; ".join(
                f"{f.get('field', f.get('name', '?'))}: {f.get('message', f.get('detail', ''))}" for f in fields
            )
    except (ValueError, AttributeError, OSError, HTTPException):
        message = f"HTTP {error.code} {error.reason} from {_address(error.url)}: is that the address of this system?"
    return VmsError(kind, message)
