"""NAL unit streams: Annex B start codes to 4-byte lengths and back (H.264 Annex B, ISO/IEC 14496-15 §4.3.3)."""

from collections.abc import Iterable, Iterator

from vms.common.errors import ErrorKind, VmsError


def split_annex_b(data: bytes) -> list[bytes]:
    """NAL units of a byte stream with 3- or 4-byte start codes; bytes before the first one are no NAL unit."""
    # Zero bytes before a start code belong to the stream, not to the NAL unit, which never ends in a zero byte.
    return [nal for part in data.split(b"\x00\x00\x01")[1:] if (nal := part.rstrip(b"\x00"))]


def split_lengths(payload: bytes) -> Iterator[bytes]:
    """NAL units of an access unit with 4-byte lengths. Raises VmsError(CORRUPT) where a length does not fit."""
    position = 0
    end = len(payload)
    while position < end:
        start = position + 4
        position = start + int.from_bytes(payload[position:start], "big")
        if start > end or position > end:
            raise VmsError(ErrorKind.CORRUPT, "a NAL unit is longer than its access unit")
        yield payload[start:position]


def join_lengths(nals: Iterable[bytes]) -> bytes:
    """One access unit with 4-byte lengths."""
    return b"".join(part for nal in nals for part in (len(nal).to_bytes(4, "big"), nal))


def join_annex_b(nals: Iterable[bytes]) -> bytes:
    """A byte stream with 4-byte start codes."""
    return b"".join(b"\x00\x00\x00\x01" + nal for nal in nals)


def annex_b_to_lengths(data: bytes) -> bytes:
    """Replace start codes by lengths."""
    return join_lengths(split_annex_b(data))


def lengths_to_annex_b(payload: bytes) -> bytes:
    """Replace lengths by start codes. Raises VmsError(CORRUPT) where a length does not fit."""
    return join_annex_b(split_lengths(payload))


def record_entry(record: bytes, position: int) -> tuple[bytes, int]:
    """A NAL unit behind a 16-bit length, as configuration records hold them, and the position after it.

    Raises IndexError when the record is cut short.
    """
    size = record[position] << 8 | record[position + 1]
    end = position + 2 + size
    if not size or end > len(record):
        raise IndexError(position)
    return record[position + 2 : end], end
