"""Errors by kind: one exception class, one closed set of kinds, one table from kind to HTTP status."""

from enum import StrEnum
from typing import Final


class ErrorKind(StrEnum):
    """What went wrong, in terms of what the caller can do about it."""

    INVALID = "invalid"  # the input is wrong: correct it
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"  # exists already, or is in use by another process
    AUTH = "auth"  # missing or wrong credentials
    FORBIDDEN = "forbidden"
    UNSUPPORTED = "unsupported"  # valid, but this build or that camera cannot do it
    UNREACHABLE = "unreachable"  # DNS failure, refused, no route
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"  # the peer broke its protocol
    CLOSED = "closed"  # the peer ended the session
    CORRUPT = "corrupt"  # bytes on disk are not what they claim to be
    STORAGE = "storage"  # disk full, read-only, I/O error
    UNAVAILABLE = "unavailable"  # a service of ours is down or busy: retry later
    INTERNAL = "internal"


HTTP_STATUS: Final[dict[ErrorKind, int]] = {
    ErrorKind.INVALID: 422,
    ErrorKind.NOT_FOUND: 404,
    ErrorKind.CONFLICT: 409,
    ErrorKind.AUTH: 401,
    ErrorKind.FORBIDDEN: 403,
    ErrorKind.UNSUPPORTED: 501,
    ErrorKind.UNREACHABLE: 502,
    ErrorKind.TIMEOUT: 504,
    ErrorKind.PROTOCOL: 502,
    ErrorKind.CLOSED: 502,
    ErrorKind.CORRUPT: 500,
    ErrorKind.STORAGE: 507,
    ErrorKind.UNAVAILABLE: 503,
    ErrorKind.INTERNAL: 500,
}


class VmsError(Exception):
    """The one error that crosses module borders.

    ``message`` is one line for a person and says what to do where that is known; it never holds a secret.
    ``context`` holds what is needed to find the packet, file or row.
    """

    def __init__(self, kind: ErrorKind, message: str, **context: object) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.context = context

    def __str__(self) -> str:
        return self.message
