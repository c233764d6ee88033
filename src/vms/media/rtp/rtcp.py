"""RTCP packets that a receiver reads and writes (RFC 3550 §6)."""

import struct
from dataclasses import dataclass
from typing import Final

SENDER_REPORT: Final = 200
RECEIVER_REPORT: Final = 201
SOURCE_DESCRIPTION: Final = 202
BYE: Final = 203

# Seconds from the NTP epoch (1900) to the Unix epoch.
_NTP_TO_UNIX_S: Final = 2_208_988_800
_SENDER_INFO: Final = struct.Struct(">IIII")


@dataclass(frozen=True, slots=True)
class SenderReport:
    """The sender's statement that RTP time ``rtp_timestamp`` was ``ntp_us`` (microseconds UTC of its own clock).

    ``middle_ntp`` is the 32 bits that a receiver report sends back.
    """

    ssrc: int
    ntp_us: int
    rtp_timestamp: int
    middle_ntp: int


@dataclass(frozen=True, slots=True)
class CompoundPacket:
    """What one compound packet said: its sender reports, and the sources that said goodbye."""

    reports: tuple[SenderReport, ...]
    goodbyes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReceptionState:
    """What a receiver report tells about a source (RFC 3550 §6.4.1)."""

    ssrc: int
    highest_sequence: int  # with its cycles in the upper 16 bits
    lost_total: int
    lost_fraction: float  # of the packets expected since the last report
    last_middle_ntp: int = 0
    since_last_report_s: float = 0.0


def parse_rtcp(packet: bytes) -> CompoundPacket:
    """Read a compound packet; what is malformed or unknown is passed over, since RTCP is advice."""
    reports: list[SenderReport] = []
    goodbyes: list[int] = []
    position = 0
    while position + 4 <= len(packet):
        first, kind = packet[position], packet[position + 1]
        end = position + 4 * (1 + (packet[position + 2] << 8 | packet[position + 3]))
        if first >> 6 != 2 or end > len(packet):
            break
        if kind == SENDER_REPORT and end - position >= 28:
            reports.append(_sender_report(packet, position + 4))
        elif kind == BYE:
            count = min(first & 0x1F, (end - position - 4) // 4)
            goodbyes += [
                int.from_bytes(packet[position + 4 + 4 * i : position + 8 + 4 * i], "big") for i in range(count)
            ]
        position = end
    return CompoundPacket(tuple(reports), tuple(goodbyes))


def receiver_report(own_ssrc: int, state: ReceptionState) -> bytes:
    """A compound packet with one report block and an anonymous CNAME, which every compound packet needs (§6.1)."""
    fraction = max(0, min(255, int(state.lost_fraction * 256)))
    delay = max(0, min(0xFFFFFFFF, int(state.since_last_report_s * 65536))) if state.last_middle_ntp else 0
    lost = max(0, min(0x7FFFFF, state.lost_total))
    report = struct.pack(
        ">BBHIIIIIII",
        0x81,
        RECEIVER_REPORT,
        7,
        own_ssrc,
        state.ssrc,
        fraction << 24 | lost,
        state.highest_sequence & 0xFFFFFFFF,
        0,  # jitter: not measured, the stream comes over TCP
        state.last_middle_ntp,
        delay,
    )
    name = f"{own_ssrc:08x}".encode()
    items = bytes((1, len(name))) + name + b"\x00"
    items += b"\x00" * (-len(items) % 4)
    description = struct.pack(">BBHI", 0x81, SOURCE_DESCRIPTION, 1 + len(items) // 4, own_ssrc) + items
    return report + description


def _sender_report(packet: bytes, position: int) -> SenderReport:
    ssrc, seconds, fraction, rtp_timestamp = _SENDER_INFO.unpack_from(packet, position)
    # Era 1 of NTP begins in 2036 (RFC 4330 §3): small numbers of seconds are beyond it, except 0, which means unknown.
    if 0 < seconds < 1 << 31:
        seconds += 1 << 32
    ntp_us = (seconds - _NTP_TO_UNIX_S) * 1_000_000 + (fraction * 1_000_000 >> 32)
    middle = (seconds & 0xFFFF) << 16 | fraction >> 16
    return SenderReport(ssrc=ssrc, ntp_us=ntp_us, rtp_timestamp=rtp_timestamp, middle_ntp=middle)
