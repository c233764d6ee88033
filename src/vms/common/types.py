"""Identifiers and small value types."""

import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType

from vms.common.errors import ErrorKind, VmsError

CameraId = NewType("CameraId", str)
StreamId = NewType("StreamId", str)

# Crockford's alphabet in lower case: no letter that is read as a digit, safe in URLs, file names and NATS subjects.
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_CAMERA_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class StreamRole(StrEnum):
    """Which of a camera's streams: full resolution, or the small one for walls and analysis."""

    MAIN = "main"
    SUB = "sub"


@dataclass(frozen=True, slots=True)
class Resolution:
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class FrameRate:
    """Frames per second as the fraction that the stream declares."""

    numerator: int
    denominator: int = 1

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.numerator / self.denominator


def new_id(prefix: str) -> str:
    """A new identifier such as ``cam_3k9x0vq2ha`` (50 random bits)."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(10))}"


def new_camera_id() -> CameraId:
    """A camera id that no other camera has."""
    return CameraId(new_id("cam"))


def parse_camera_id(text: str) -> CameraId:
    """Check that text may be a directory name and a NATS token. Raises VmsError(INVALID)."""
    if not _CAMERA_ID.fullmatch(text):
        shown = text[:80]
        raise VmsError(ErrorKind.INVALID, f"'{shown}' is not a camera id: use letters, digits, _ and -", text=shown)
    return CameraId(text)


def stream_id(camera_id: CameraId, role: StreamRole = StreamRole.MAIN) -> StreamId:
    """The id of one stream of a camera; one NATS token."""
    return StreamId(f"{camera_id}-{role}")
