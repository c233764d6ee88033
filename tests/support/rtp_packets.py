"""RTP packets written by hand, independent of the product's packetiser: any header, any split, any fault."""

import struct
from collections.abc import Iterable

SSRC = 0x11223344


def rtp(
    sequence: int,
    timestamp: int,
    payload: bytes,
    *,
    marker: bool = False,
    ssrc: int = SSRC,
    payload_type: int = 96,
    csrc: int = 0,
    extension: bytes | None = None,
    padding: int = 0,
) -> bytes:
    """One packet (RFC 3550 §5.1). ``extension`` is the content of a header extension, a multiple of 4 bytes."""
    first = 0x80 | csrc | (0x10 if extension is not None else 0) | (0x20 if padding else 0)
    second = payload_type | (0x80 if marker else 0)
    packet = struct.pack(">BBHII", first, second, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + bytes(4 * csrc)
    if extension is not None:
        packet += b"\xbe\xde" + struct.pack(">H", len(extension) // 4) + extension
    return packet + payload + (bytes(padding - 1) + bytes((padding,)) if padding else b"")


def interleaved(packet: bytes, channel: int = 0) -> bytes:
    """A packet as it stands on an RTSP connection."""
    return b"$" + bytes((channel,)) + struct.pack(">H", len(packet)) + packet


def h264_payloads(nals: Iterable[bytes], size: int = 100) -> list[bytes]:
    """Single NAL unit packets, and FU-A for what is larger than ``size``."""
    payloads = []
    for nal in nals:
        if len(nal) <= size:
            payloads.append(nal)
            continue
        pieces = [nal[i : i + size] for i in range(1, len(nal), size)]
        for n, piece in enumerate(pieces):
            flags = (0x80 if n == 0 else 0) | (0x40 if n == len(pieces) - 1 else 0)
            payloads.append(bytes((nal[0] & 0xE0 | 28, flags | nal[0] & 0x1F)) + piece)
    return payloads


def h265_payloads(nals: Iterable[bytes], size: int = 100) -> list[bytes]:
    """Single NAL unit packets, and FU for what is larger than ``size``."""
    payloads = []
    for nal in nals:
        if len(nal) <= size:
            payloads.append(nal)
            continue
        pieces = [nal[i : i + size] for i in range(2, len(nal), size)]
        for n, piece in enumerate(pieces):
            flags = (0x80 if n == 0 else 0) | (0x40 if n == len(pieces) - 1 else 0)
            payloads.append(bytes((nal[0] & 0x81 | 49 << 1, nal[1], flags | nal[0] >> 1 & 0x3F)) + piece)
    return payloads


def stap_a(nals: list[bytes]) -> bytes:
    """One H.264 aggregation packet."""
    return b"\x78" + b"".join(struct.pack(">H", len(nal)) + nal for nal in nals)


def aggregate_h265(nals: list[bytes]) -> bytes:
    """One H.265 aggregation packet."""
    return b"\x60\x01" + b"".join(struct.pack(">H", len(nal)) + nal for nal in nals)


class Sender:
    """Numbers the packets of a stream; frames are 3600 ticks apart."""

    def __init__(self, sequence: int = 65530, timestamp: int = 0xFFFFF000, ssrc: int = SSRC) -> None:
        self.sequence = sequence
        self.timestamp = timestamp
        self.ssrc = ssrc

    def frame(self, payloads: list[bytes], *, marker: bool = True, step: int = 3600) -> list[bytes]:
        """The packets of one frame, interleaved; the marker is on the last."""
        packets = []
        for n, payload in enumerate(payloads):
            last = n == len(payloads) - 1
            packet = rtp(self.sequence, self.timestamp, payload, marker=marker and last, ssrc=self.ssrc)
            packets.append(interleaved(packet))
            self.sequence += 1
        self.timestamp += step
        return packets


def sender_report(ntp_us: int, rtp_timestamp: int, ssrc: int = SSRC) -> bytes:
    """An RTCP sender report (RFC 3550 §6.4.1)."""
    seconds, micros = divmod(ntp_us, 1_000_000)
    fraction = -(-(micros << 32) // 1_000_000)
    return struct.pack(
        ">BBHIIIIII",
        0x80,
        200,
        6,
        ssrc,
        (seconds + 2_208_988_800) & 0xFFFFFFFF,
        fraction,
        rtp_timestamp & 0xFFFFFFFF,
        0,
        0,
    )


def goodbye(ssrc: int = SSRC) -> bytes:
    """An RTCP BYE."""
    return struct.pack(">BBHI", 0x81, 203, 1, ssrc)
