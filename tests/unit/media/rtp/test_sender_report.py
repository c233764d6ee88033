"""RTCP packets are read back field by field as RFC 3550 lays them out."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from vms.media.rtp.sender_report import goodbye, interleaved, ntp_time, sender_report


def _packets(compound: bytes) -> list[tuple[int, int, bytes]]:
    packets = []
    while compound:
        first, kind, words = struct.unpack(">BBH", compound[:4])
        assert first >> 6 == 2
        assert len(compound) >= 4 * (words + 1)
        packets.append((kind, first & 0x1F, compound[4 : 4 * (words + 1)]))
        compound = compound[4 * (words + 1) :]
    return packets


@given(st.integers(0, 4_000_000_000_000_000))
@settings(max_examples=200)
def test_ntp_time_reads_back_to_the_same_microsecond(wall_us: int) -> None:
    stamp = ntp_time(wall_us)
    assert stamp < 2**64 or wall_us > 2_085_978_496_000_000  # NTP era 1 starts in 2036
    seconds = (stamp >> 32) - 2_208_988_800
    assert seconds * 1_000_000 + round((stamp & 0xFFFFFFFF) * 1_000_000 / 2**32) == wall_us
    assert seconds * 1_000_000 + ((stamp & 0xFFFFFFFF) * 1_000_000 >> 32) == wall_us


@given(st.text("abc@.", min_size=1, max_size=20), st.integers(0, 2**40), st.integers(0, 2**40))
@settings(max_examples=50)
def test_a_sender_report_holds_the_mapping_the_counts_and_the_name(cname: str, rtp: int, octets: int) -> None:
    compound = sender_report(
        ssrc=0x01020304, wall_us=1_700_000_000_500_000, rtp_timestamp=rtp, packets=9, octets=octets, cname=cname
    )
    (kind, count, report), (sdes_kind, chunks, sdes) = _packets(compound)
    assert (kind, count, sdes_kind, chunks) == (200, 0, 202, 1)
    assert struct.unpack(">IIIIII", report) == (
        0x01020304,
        1_700_000_000 + 2_208_988_800,
        1 << 31,
        rtp % 2**32,
        9,
        octets % 2**32,
    )
    assert sdes[:6] == b"\x01\x02\x03\x04\x01" + bytes([len(cname)])
    assert sdes[6 : 6 + len(cname)].decode() == cname
    assert sdes[6 + len(cname) :].strip(b"\0") == b""
    assert sdes[-1] == 0


def test_goodbye_is_a_valid_compound_that_ends_with_bye() -> None:
    assert [kind for kind, _, _ in _packets(goodbye(ssrc=5, cname="cam"))] == [201, 202, 203]
    assert _packets(goodbye(ssrc=5, cname="cam"))[-1] == (203, 1, b"\0\0\0\x05")


def test_interleaving_puts_channel_and_length_in_front() -> None:
    assert interleaved(b"abc", 1) == b"$\x01\x00\x03abc"
