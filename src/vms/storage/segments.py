"""What the service works with: one catalogued file, and the span of time that is asked for."""

import hashlib
from dataclasses import dataclass
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container, VideoCodec
from vms.common.types import CameraId

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFacts:
    """One media file as far as it is known. Covers wall time [start_us, end_us)."""

    id: str
    camera_id: CameraId
    volume: str
    path: str  # relative to the volume's root
    container: Container
    codec: VideoCodec
    codec_string: str
    width: int
    height: int
    start_us: int
    end_us: int
    size_bytes: int
    frames: int
    fragments: int
    closed: bool


@dataclass(frozen=True, slots=True)
class Span:
    """Wall time [start_us, end_us)."""

    start_us: int
    end_us: int


def segment_id(volume: str, path: str) -> str:
    """The id of a file, made of its place: a catalogue that is rebuilt from the disk keeps every URL (80 bits)."""
    digest = hashlib.sha256(f"{volume}\0{path}".encode()).digest()
    number = int.from_bytes(digest[:10], "big")
    return "rec_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(75, -1, -5))


def checked_span(start_us: int, end_us: int, *, limit_s: float, what: str) -> Span:
    """A span that is not empty and not too long. Raises VmsError(INVALID)."""
    if start_us >= end_us:
        raise VmsError(ErrorKind.INVALID, "start must be before end")
    if end_us - start_us > limit_s * 1e6:
        raise VmsError(ErrorKind.INVALID, f"a {what} covers at most {limit_s / 3600:g} hours: ask for a shorter range")
    return Span(start_us, end_us)
