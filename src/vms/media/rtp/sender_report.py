"""RTCP that a sender of one stream writes: sender report, source description, BYE (RFC 3550 §6.4.1, §6.5, §6.6)."""

from struct import Struct
from typing import Final

_NTP_EPOCH_SECONDS: Final = 2_208_988_800  # 1900-01-01 to 1970-01-01
_SENDER_REPORT = Struct(">BBHIQIII")
_HEADER = Struct(">BBHI")


def ntp_time(wall_us: int) -> int:
    """Wall time as a 64-bit NTP timestamp (RFC 3550 §4), rounded up: so it reads back exactly, truncated or not."""
    seconds, micros = divmod(wall_us, 1_000_000)
    return (seconds + _NTP_EPOCH_SECONDS << 32) + ((micros << 32) + 999_999) // 1_000_000


def sender_report(*, ssrc: int, wall_us: int, rtp_timestamp: int, packets: int, octets: int, cname: str) -> bytes:
    """A compound packet saying that RTP time ``rtp_timestamp`` was captured at wall time ``wall_us``.

    Counts may be unwrapped. The source description is there because RFC 3550 §6.1 wants one in every compound.
    """
    report = _SENDER_REPORT.pack(
        0x80, 200, 6, ssrc, ntp_time(wall_us), rtp_timestamp & 0xFFFFFFFF, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF
    )
    return report + _source_description(ssrc, cname)


def goodbye(*, ssrc: int, cname: str) -> bytes:
    """A compound packet that ends the stream; an empty receiver report comes first, as §6.1 demands."""
    return _HEADER.pack(0x80, 201, 1, ssrc) + _source_description(ssrc, cname) + _HEADER.pack(0x81, 203, 1, ssrc)


def interleaved(packet: bytes, channel: int) -> bytes:
    """The packet framed for an RTSP connection (RFC 2326 §10.12)."""
    return b"$" + bytes((channel,)) + len(packet).to_bytes(2, "big") + packet


def _source_description(ssrc: int, cname: str) -> bytes:
    item = b"\x01" + bytes((len(cname),)) + cname.encode("ascii")
    item += bytes(4 - len(item) % 4)  # at least one zero ends the chunk
    return _HEADER.pack(0x81, 202, 1 + len(item) // 4, ssrc) + item
