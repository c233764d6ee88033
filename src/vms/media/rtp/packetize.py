"""Access unit → RTP packets: H.264 (RFC 6184) and H.265 (RFC 7798), alone or as one RTSP interleaved blob.

A frame is packetised once, into one bytes object that every viewer of the stream is sent with one write; so the blob
(`$`, channel, length, RTP packet, again and again; RFC 2326 §10.12) is the fast form, and packets are cut from it.
"""

from struct import Struct, error
from typing import Final, TypeAlias

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec

MAX_PAYLOAD_BYTES: Final = 1400  # fits an Ethernet frame with IPv6, UDP and SRTP around it
INTERLEAVED_HEADER_BYTES: Final = 4

_RTP_HEADER_BYTES: Final = 12
_VERSION_2: Final = 0x80
_MARKER: Final = 0x80
_STAP_A: Final = 24  # RFC 6184 §5.7.1
_FU_A: Final = 28  # RFC 6184 §5.8
_H264_PARAMETER_SETS: Final = frozenset((7, 8, 13))
_FU_H265: Final = 49  # RFC 7798 §4.4.3
_START: Final = 0x80
_END: Final = 0x40

_LENGTH_32 = Struct(">I")
_LENGTH_16 = Struct(">H")
_HEADERS = Struct(">cBHBBHII")  # '$', channel, length; then the RTP fixed header of RFC 3550 §5.1

# What an RTP packet carries: its first bytes, then this range of the access unit.
_Fragment: TypeAlias = tuple[bytes, int, int]


def packetize_interleaved(
    payload: bytes,
    *,
    codec: VideoCodec,
    sequence: int,
    timestamp: int,
    ssrc: int,
    payload_type: int = 96,
    channel: int = 0,
    max_payload_bytes: int = MAX_PAYLOAD_BYTES,
) -> tuple[bytes, int]:
    """One access unit (NAL units behind 4-byte lengths) as (interleaved RTP packets, number of packets).

    ``sequence`` and ``timestamp`` may be unwrapped counters; they are cut to 16 and 32 bits here.
    Raises VmsError(CORRUPT) when the lengths do not add up or nothing is inside.
    """
    fragment = _h264_fragments if codec is VideoCodec.H264 else _h265_fragments
    fragments = fragment(payload, _nal_ranges(payload), max_payload_bytes)
    if not fragments:
        raise VmsError(ErrorKind.CORRUPT, "an access unit without NAL units cannot be sent")
    timestamp &= 0xFFFFFFFF
    view = memoryview(payload)
    pack = _HEADERS.pack
    parts: list[bytes | memoryview] = []
    last = len(fragments) - 1
    for n, (prefix, start, end) in enumerate(fragments):
        length = _RTP_HEADER_BYTES + len(prefix) + end - start
        kind = payload_type | _MARKER if n == last else payload_type
        parts.append(pack(b"$", channel, length, _VERSION_2, kind, (sequence + n) & 0xFFFF, timestamp, ssrc))
        if prefix:
            parts.append(prefix)
        parts.append(view[start:end])
    return b"".join(parts), len(fragments)


def packetize(
    payload: bytes,
    *,
    codec: VideoCodec,
    sequence: int,
    timestamp: int,
    ssrc: int,
    payload_type: int = 96,
    max_payload_bytes: int = MAX_PAYLOAD_BYTES,
) -> list[bytes]:
    """One access unit as RTP packets; arguments and errors as `packetize_interleaved`."""
    blob, _ = packetize_interleaved(
        payload,
        codec=codec,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        payload_type=payload_type,
        max_payload_bytes=max_payload_bytes,
    )
    packets = []
    position = 0
    while position < len(blob):
        (length,) = _LENGTH_16.unpack_from(blob, position + 2)
        position += INTERLEAVED_HEADER_BYTES
        packets.append(blob[position : position + length])
        position += length
    return packets


def with_channel(blob: bytes, channel: int) -> bytes:
    """The same interleaved packets on another channel, for the rare client that does not ask for channel 0."""
    changed = bytearray(blob)
    position = 0
    while position < len(changed):
        changed[position + 1] = channel
        position += INTERLEAVED_HEADER_BYTES + _LENGTH_16.unpack_from(changed, position + 2)[0]
    return bytes(changed)


def _nal_ranges(payload: bytes) -> list[tuple[int, int]]:
    """Where each NAL unit starts and ends; empty ones are left out."""
    ranges = []
    position = 0
    end = len(payload)
    try:
        while position < end:
            (length,) = _LENGTH_32.unpack_from(payload, position)
            position += 4
            if length:
                ranges.append((position, position + length))
            position += length
    except error:
        position = end + 1
    if position != end:
        raise VmsError(ErrorKind.CORRUPT, f"NAL lengths overrun an access unit of {end} bytes")
    return ranges


def _h264_fragments(payload: bytes, nals: list[tuple[int, int]], limit: int) -> list[_Fragment]:
    """Single NAL unit packets, FU-A for what does not fit, STAP-A for a run of parameter sets."""
    fragments: list[_Fragment] = []
    n = 0
    while n < len(nals):
        start, end = nals[n]
        if payload[start] & 0x1F in _H264_PARAMETER_SETS:
            last, prefix = _aggregate(payload, nals, n, limit)
            if last > n + 1:
                fragments.append((prefix, 0, 0))
                n = last
                continue
        n += 1
        if end - start <= limit:
            fragments.append((b"", start, end))
            continue
        indicator = payload[start] & 0xE0 | _FU_A
        kind = payload[start] & 0x1F
        step = limit - 2
        first = bytes((indicator, _START | kind))
        middle = bytes((indicator, kind))
        fragments.append((first, start + 1, start + 1 + step))
        position = start + 1 + step
        while position + step < end:
            fragments.append((middle, position, position + step))
            position += step
        fragments.append((bytes((indicator, _END | kind)), position, end))
    return fragments


def _aggregate(payload: bytes, nals: list[tuple[int, int]], first: int, limit: int) -> tuple[int, bytes]:
    """A STAP-A of the parameter sets from ``first`` on, as many as fit: (index after the last, packet payload)."""
    parts = []
    size = 1
    header = 0
    importance = 0
    n = first
    while n < len(nals):
        start, end = nals[n]
        if payload[start] & 0x1F not in _H264_PARAMETER_SETS or size + 2 + end - start > limit:
            break
        size += 2 + end - start
        header |= payload[start] & 0x80  # F: set when any of them has it
        importance = max(importance, payload[start] & 0x60)  # NRI: the highest of them
        parts += [_LENGTH_16.pack(end - start), payload[start:end]]
        n += 1
    return n, bytes((header | importance | _STAP_A,)) + b"".join(parts)


def _h265_fragments(payload: bytes, nals: list[tuple[int, int]], limit: int) -> list[_Fragment]:
    """Single NAL unit packets, fragmentation units for what does not fit."""
    fragments: list[_Fragment] = []
    for start, end in nals:
        if end - start <= limit:
            fragments.append((b"", start, end))
            continue
        kind = payload[start] >> 1 & 0x3F
        header = bytes((payload[start] & 0x81 | _FU_H265 << 1, payload[start + 1]))
        step = limit - 3
        fragments.append((header + bytes((_START | kind,)), start + 2, start + 2 + step))
        position = start + 2 + step
        middle = header + bytes((kind,))
        while position + step < end:
            fragments.append((middle, position, position + step))
            position += step
        fragments.append((header + bytes((_END | kind,)), position, end))
    return fragments
