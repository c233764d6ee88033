"""Replies that stream bytes from somewhere, whole or in part, without loading them."""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse

from vms.common.errors import ErrorKind
from vms.web.problem import problem
from vms.web.ranges import RangeNotSatisfiableError, http_date, not_modified, parse_range, range_still_valid


@dataclass(frozen=True)
class Representation:
    """What there is to send: ``size`` bytes that ``read(start, end)`` yields in chunks.

    ``etag`` is quoted. A representation that still grows has an ``etag`` that changes with it.
    """

    size: int
    etag: str
    modified_us: int
    media_type: str
    read: Callable[[int, int], AsyncIterator[bytes]]
    download_name: str | None = None
    cache_control: str = "private, max-age=3600"


def ranged_response(representation: Representation, *, method: str, headers: Mapping[str, str]) -> Response:
    """Answer GET or HEAD with 200, 206, 304 or 416 as Range, If-Range and If-None-Match ask (RFC 9110 §13.2.2)."""
    shared = {
        "Accept-Ranges": "bytes",
        "ETag": representation.etag,
        "Last-Modified": http_date(representation.modified_us),
        "Cache-Control": representation.cache_control,
    }
    if representation.download_name is not None:
        shared["Content-Disposition"] = content_disposition(representation.download_name)
    if not_modified(headers.get("if-none-match"), representation.etag):
        return Response(status_code=304, headers=shared)
    wanted = None
    # Range is defined for GET alone (RFC 9110 §14.2).
    if method == "GET" and range_still_valid(
        headers.get("if-range"), etag=representation.etag, modified_us=representation.modified_us
    ):
        try:
            wanted = parse_range(headers.get("range"), representation.size)
        except RangeNotSatisfiableError:
            return problem(
                416,
                ErrorKind.INVALID,
                f"no such bytes: there are {representation.size}",
                headers={"Content-Range": f"bytes */{representation.size}"},
            )
    start, end = (wanted.start, wanted.end) if wanted else (0, representation.size)
    shared["Content-Length"] = str(end - start)
    status = 200
    if wanted:
        status = 206
        shared["Content-Range"] = f"bytes {start}-{end - 1}/{representation.size}"
    if method == "HEAD":
        return Response(status_code=status, headers=shared, media_type=representation.media_type)
    return StreamingResponse(
        representation.read(start, end), status, headers=shared, media_type=representation.media_type
    )


def content_disposition(name: str) -> str:
    """``attachment`` with a file name in both forms of RFC 6266."""
    plain = re.sub(r'[^\x20-\x7e]|["\\]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
