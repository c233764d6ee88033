"""EBML, the binary form of Matroska (RFC 8794): element ids, variable-length sizes, elements."""

from struct import pack
from typing import Final

from vms.common.errors import ErrorKind, VmsError

UNKNOWN_SIZE: Final = b"\x01" + b"\xff" * 7
"""The 8-byte size of an element that ends where the file does (RFC 8794 §6.2)."""


def size_field(value: int, width: int = 8) -> bytes:
    """A size of exactly ``width`` bytes. Raises VmsError(INVALID) when it does not fit."""
    if not 0 <= value < (1 << 7 * width) - 1:
        raise VmsError(ErrorKind.INVALID, f"{value} does not fit into an EBML size of {width} bytes")
    return (1 << 7 * width | value).to_bytes(width, "big")


def element(identifier: int, payload: bytes, size_width: int = 0) -> bytes:
    """An element; its size takes ``size_width`` bytes, or as few as it needs."""
    width = size_width or next(w for w in range(1, 9) if len(payload) < (1 << 7 * w) - 1)
    return identifier_bytes(identifier) + size_field(len(payload), width) + payload


def identifier_bytes(identifier: int) -> bytes:
    """An element id with its length marker, as the specification prints it."""
    return identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")


def unsigned(identifier: int, value: int) -> bytes:
    """An unsigned integer element in as few bytes as it needs."""
    return element(identifier, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def text(identifier: int, value: str) -> bytes:
    """A string element."""
    return element(identifier, value.encode())


def float64(identifier: int, value: float) -> bytes:
    """A floating point element of 8 bytes."""
    return element(identifier, pack(">d", value))


def read_header(data: bytes, position: int) -> tuple[int, int, int]:
    """(id, size, position of the payload) of the element at ``position``; an unknown size is -1.

    Raises VmsError(CORRUPT).
    """
    id_width = _width(data, position, 4)
    size_at = position + id_width
    width = _width(data, size_at, 8)
    if size_at + width > len(data):
        raise VmsError(ErrorKind.CORRUPT, f"EBML element at byte {position} is cut", offset=position)
    identifier = int.from_bytes(data[position:size_at], "big")
    size = int.from_bytes(data[size_at : size_at + width], "big") ^ (1 << 7 * width)
    return identifier, -1 if size == (1 << 7 * width) - 1 else size, size_at + width


def _width(data: bytes, position: int, limit: int) -> int:
    width = 9 - data[position].bit_length() if position < len(data) else 9
    if width > limit:
        raise VmsError(ErrorKind.CORRUPT, f"no EBML element at byte {position}", offset=position)
    return width
