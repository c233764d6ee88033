"""Cursors of lists that are ordered by a number and an id: opaque to clients, stable while rows come and go."""

import base64
import binascii
from dataclasses import dataclass

from vms.common.errors import ErrorKind, VmsError


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last item of the page before."""

    position: int
    id: str


def encode_cursor(cursor: Cursor) -> str:
    """Text for a URL."""
    return base64.urlsafe_b64encode(f"{cursor.position}:{cursor.id}".encode()).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """The cursor behind a client's text. Raises VmsError(INVALID)."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        position, colon, row_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition(":")
        number = int(position)
    except (ValueError, binascii.Error):
        raise _invalid() from None
    if not colon or not row_id or abs(number) >= 1 << 63:
        raise _invalid()
    return Cursor(number, row_id)


def _invalid() -> VmsError:
    return VmsError(ErrorKind.INVALID, "cursor: pass next_cursor of the page before as it came")
