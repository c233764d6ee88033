"""RTCP: what senders say is read, what a receiver says is well formed."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.rtp_packets import goodbye, sender_report

from vms.media.rtp.rtcp import ReceptionState, parse_rtcp, receiver_report


@settings(max_examples=100)
@given(st.integers(1, 4_000_000_000_000_000), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_sender_report_is_read_to_the_microsecond(ntp_us: int, timestamp: int, ssrc: int) -> None:
    (report,) = parse_rtcp(sender_report(ntp_us, timestamp, ssrc)).reports
    assert (report.ssrc, report.ntp_us, report.rtp_timestamp) == (ssrc, ntp_us, timestamp)


def test_a_report_without_wall_time_lies_before_1970() -> None:
    packet = bytearray(sender_report(0, 5))
    packet[8:16] = bytes(8)
    assert parse_rtcp(bytes(packet)).reports[0].ntp_us < 0


def test_compound_packets_are_read_to_the_end() -> None:
    description = struct.pack(">BBHI", 0x81, 202, 3, 7) + b"\x01\x02ab\x00\x00\x00\x00"
    found = parse_rtcp(sender_report(1_000_000, 1, 7) + description + goodbye(7))
    assert len(found.reports) == 1
    assert found.goodbyes == (7,)


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_garbage_is_passed_over(packet: bytes) -> None:
    parse_rtcp(packet)
    parse_rtcp(b"\x81\xcb" + packet)
    parse_rtcp(b"\x80\xc8" + packet)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**33), st.integers(0, 2**25), st.floats(0, 1), st.floats(0, 1e6))
def test_a_receiver_report_has_the_lengths_it_claims(
    ssrc: int, highest: int, lost: int, fraction: float, delay: float
) -> None:
    packet = receiver_report(9, ReceptionState(ssrc, highest, lost, fraction, 5, delay))
    assert packet[:4] == bytes((0x81, 201, 0, 7))
    assert struct.unpack_from(">II", packet, 4) == (9, ssrc)
    assert packet[32:34] == bytes((0x81, 202))
    assert len(packet) == 32 + 4 * (1 + struct.unpack_from(">H", packet, 34)[0])
    assert packet.endswith(b"\x00")
    assert struct.unpack_from(">I", packet, 16)[0] == highest & 0xFFFFFFFF


def test_a_receiver_report_returns_the_time_of_the_sender_report() -> None:
    (report,) = parse_rtcp(sender_report(1_700_000_000_500_000, 0)).reports
    packet = receiver_report(9, ReceptionState(7, 1, 0, 0.5, report.middle_ntp, 2.5))
    assert struct.unpack_from(">II", packet, 24) == (report.middle_ntp, 2 * 65536 + 32768)
    assert packet[12] == 128
    assert report.middle_ntp & 0xFFFF == 0x8000
