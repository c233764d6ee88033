"""Byte ranges and conditional requests (RFC 9110 §13 and §14). Pure."""

import re
from dataclasses import dataclass
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final

from vms.common.timestamps import datetime_from_us

_RANGE: Final = re.compile(r"^bytes=(\d{0,18})-(\d{0,18})$", re.ASCII)


class RangeNotSatisfiableError(Exception):
    """Raised by parse_range: no byte of the range exists. Answer 416 with ``Content-Range: bytes */size``."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes ``[start, end)``."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes."""
        return self.end - self.start


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """The requested part of ``size`` bytes, or None for all of them.

    Several ranges, other units and malformed headers are ignored, as RFC 9110 §14.2 permits and §14.1.1 demands.
    Raises RangeNotSatisfiableError.
    """
    match = _RANGE.match(header.replace(" ", "")) if header else None
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise RangeNotSatisfiableError
        return ByteRange(size - length, size)
    start = int(first)
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    if start >= size:
        raise RangeNotSatisfiableError
    return ByteRange(start, end)


def http_date(wall_us: int) -> str:
    """IMF-fixdate (RFC 9110 §5.6.7), e.g. ``Sun, 01 Mar 2026 10:00:00 GMT``."""
    return format_datetime(datetime_from_us(wall_us), usegmt=True)


def range_still_valid(if_range: str | None, *, etag: str, modified_us: int) -> bool:
    """Whether If-Range permits a partial reply: absent, the strong ETag, or the exact modification date."""
    if if_range is None:
        return True
    if if_range.startswith(('"', "W/")):
        return if_range == etag and not etag.startswith("W/")
    try:
        return parsedate_to_datetime(if_range).timestamp() == modified_us // 1_000_000
    except (ValueError, OverflowError):
        return False


def not_modified(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has this representation already (weak comparison, RFC 9110 §13.1.2)."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    known = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return etag.removeprefix("W/") in known
