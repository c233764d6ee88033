"""Boxes of the ISO base media file format (ISO/IEC 14496-12): composing, walking, and those that describe a track."""

from collections.abc import Iterator, Sequence
from struct import Struct, error, pack
from typing import Final, NamedTuple

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec, VideoParameters

TIMESCALE: Final = 90_000

_HEADER: Final = Struct(">I4s")
_LARGE: Final = Struct(">Q")
_EPOCH_1904_S: Final = 2_082_844_800  # 1904-01-01 to 1970-01-01, ISO/IEC 14496-12 §8.2.2
_UNITY_MATRIX: Final = pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_LANGUAGE_UND: Final = 0x55C4


class Box(NamedTuple):
    """A box inside a byte string: its type, and where its payload begins and ends."""

    kind: bytes
    start: int
    end: int


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box around the joined parts. Raises VmsError(INVALID) beyond 4 GiB."""
    payload = b"".join(parts)
    try:
        return _HEADER.pack(8 + len(payload), kind) + payload
    except error:
        raise VmsError(ErrorKind.INVALID, f"a {kind.decode()} box of {len(payload)} bytes is too large") from None


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    """A box that begins with a version and 24 bits of flags."""
    return box(kind, pack(">I", version << 24 | flags), *parts)


def walk(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes between two positions. Raises VmsError(CORRUPT) at one that does not fit."""
    stop = len(data) if end is None else end
    while start < stop:
        if stop - start < 8:
            raise _does_not_fit(start)
        size, kind = _HEADER.unpack_from(data, start)
        head = 8
        if size == 1 and stop - start >= 16:
            size, head = _LARGE.unpack_from(data, start + 8)[0], 16
        if not head <= size <= stop - start:
            raise _does_not_fit(start)
        yield Box(kind, start + head, start + size)
        start += size


def _does_not_fit(position: int) -> VmsError:
    return VmsError(ErrorKind.CORRUPT, f"box at byte {position} does not fit where it is", offset=position)


def movie(
    tracks: Sequence[bytes], *, start_us: int, duration_90k: int, params: Sequence[VideoParameters], edit: bytes = b""
) -> bytes:
    """The ``moov`` box of one video track.

    ``tracks`` are the tables of ``stbl`` behind ``stsd``; ``params`` its sample entries; ``edit`` an ``edts`` box.
    """
    created = max(0, start_us // 1_000_000 + _EPOCH_1904_S)
    width = max(p.width for p in params)
    height = max(p.height for p in params)
    mvhd_body = pack(">QQIQIH10x", created, created, TIMESCALE, duration_90k, 0x10000, 0x100)
    mvhd = full_box(b"mvhd", 1, 0, mvhd_body, _UNITY_MATRIX, bytes(24), pack(">I", 2))
    tkhd_body = pack(">QQIIQ8xhhHH", created, created, 1, 0, duration_90k, 0, 0, 0, 0)
    tkhd = full_box(b"tkhd", 1, 3, tkhd_body, _UNITY_MATRIX, pack(">II", width << 16, height << 16))
    mdhd = full_box(b"mdhd", 1, 0, pack(">QQIQHH", created, created, TIMESCALE, duration_90k, _LANGUAGE_UND, 0))
    hdlr = full_box(b"hdlr", 0, 0, pack(">I4s12x", 0, b"vide"), b"VMS\0")
    dref = full_box(b"dref", 0, 0, pack(">I", 1), full_box(b"url ", 0, 1))
    stsd = full_box(b"stsd", 0, 0, pack(">I", len(params)), *map(sample_entry, params))
    stbl = box(b"stbl", stsd, *tracks)
    minf = box(b"minf", full_box(b"vmhd", 0, 1, bytes(8)), box(b"dinf", dref), stbl)
    trak = box(b"trak", tkhd, edit, box(b"mdia", mdhd, hdlr, minf))
    return mvhd + trak


def sample_entry(params: VideoParameters) -> bytes:
    """``avc1`` or ``hvc1`` (ISO/IEC 14496-15 §5.4.2, §8.4.1). The names say: all parameter sets are in the header."""
    kind, configuration = (b"avc1", b"avcC") if params.codec is VideoCodec.H264 else (b"hvc1", b"hvcC")
    visual = pack(">6xH16xHHII4xH32xHh", 1, params.width, params.height, 0x480000, 0x480000, 1, 24, -1)
    return box(kind, visual, box(configuration, params.codec_private))


def edit_list(duration_90k: int, media_time_90k: int) -> bytes:
    """``edts`` that begins the presentation at a media time (ISO/IEC 14496-12 §8.6.6)."""
    return box(b"edts", full_box(b"elst", 1, 0, pack(">IQqHH", 1, duration_90k, media_time_90k, 1, 0)))
