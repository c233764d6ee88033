"""Packetising is checked by a depacketiser written here from the RFCs, independent of the product's own."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec
from vms.media.rtp.packetize import packetize, packetize_interleaved, with_channel

_H264_TYPES = st.sampled_from([1, 5, 6, 7, 8, 9, 12, 13])
_H265_TYPES = st.sampled_from([0, 1, 19, 20, 21, 32, 33, 34, 35, 39])


def _join(nals: list[bytes]) -> bytes:
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


def _split(blob: bytes) -> list[tuple[int, bytes]]:
    packets = []
    while blob:
        assert blob[0] == 0x24
        length = int.from_bytes(blob[2:4], "big")
        assert len(blob) >= 4 + length
        packets.append((blob[1], blob[4 : 4 + length]))
        blob = blob[4 + length :]
    return packets


def _depacketize_h264(payloads: list[bytes]) -> list[bytes]:
    nals: list[bytes] = []
    unit: bytes | None = None
    for p in payloads:
        kind = p[0] & 0x1F
        if kind == 24:
            rest = p[1:]
            while rest:
                (length,) = struct.unpack(">H", rest[:2])
                nals.append(rest[2 : 2 + length])
                rest = rest[2 + length :]
        elif kind == 28:
            if p[1] & 0x80:
                assert unit is None
                unit = bytes([p[0] & 0xE0 | p[1] & 0x1F])
            assert unit is not None
            unit += p[2:]
            if p[1] & 0x40:
                assert not p[1] & 0x80
                nals.append(unit)
                unit = None
        else:
            assert unit is None
            nals.append(p)
    assert unit is None
    return nals


def _depacketize_h265(payloads: list[bytes]) -> list[bytes]:
    nals: list[bytes] = []
    unit: bytes | None = None
    for p in payloads:
        if p[0] >> 1 & 0x3F == 49:
            if p[2] & 0x80:
                assert unit is None
                unit = bytes([p[0] & 0x81 | (p[2] & 0x3F) << 1, p[1]])
            assert unit is not None
            unit += p[3:]
            if p[2] & 0x40:
                assert not p[2] & 0x80
                nals.append(unit)
                unit = None
        else:
            assert unit is None
            nals.append(p)
    assert unit is None
    return nals


@st.composite
def _h264_nals(draw: st.DrawFn) -> list[bytes]:
    sizes = draw(st.lists(st.integers(0, 400), min_size=1, max_size=8))
    return [
        bytes([draw(st.sampled_from([0x00, 0x20, 0x60])) | draw(_H264_TYPES)]) + bytes([n]) * size
        for n, size in enumerate(sizes)
    ]


@st.composite
def _h265_nals(draw: st.DrawFn) -> list[bytes]:
    sizes = draw(st.lists(st.integers(0, 400), min_size=1, max_size=8))
    return [
        bytes([draw(_H265_TYPES) << 1 | draw(st.integers(0, 1)), 1 + n]) + bytes([n]) * size
        for n, size in enumerate(sizes)
    ]


def _check_headers(blob: bytes, count: int, *, sequence: int, timestamp: int, limit: int) -> list[bytes]:
    packets = _split(blob)
    assert len(packets) == count
    payloads = []
    for n, (channel, packet) in enumerate(packets):
        first, second, seq, stamp, ssrc = struct.unpack(">BBHII", packet[:12])
        assert (channel, first, ssrc) == (4, 0x80, 0xDEADBEEF)
        assert second == (97 | (0x80 if n == count - 1 else 0))
        assert seq == (sequence + n) % 65536
        assert stamp == timestamp % 2**32
        assert 0 < len(packet) - 12 <= limit
        payloads.append(packet[12:])
    return payloads


@settings(max_examples=150)
@given(_h264_nals(), st.integers(0, 2**20), st.integers(0, 2**40), st.integers(20, 300))
def test_h264_access_units_come_back_from_their_packets(
    nals: list[bytes], sequence: int, timestamp: int, limit: int
) -> None:
    blob, count = packetize_interleaved(
        _join(nals),
        codec=VideoCodec.H264,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=0xDEADBEEF,
        payload_type=97,
        channel=4,
        max_payload_bytes=limit,
    )
    payloads = _check_headers(blob, count, sequence=sequence, timestamp=timestamp, limit=limit)
    assert _depacketize_h264(payloads) == nals


@settings(max_examples=150)
@given(_h265_nals(), st.integers(0, 2**20), st.integers(0, 2**40), st.integers(20, 300))
def test_h265_access_units_come_back_from_their_packets(
    nals: list[bytes], sequence: int, timestamp: int, limit: int
) -> None:
    blob, count = packetize_interleaved(
        _join(nals),
        codec=VideoCodec.H265,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=0xDEADBEEF,
        payload_type=97,
        channel=4,
        max_payload_bytes=limit,
    )
    payloads = _check_headers(blob, count, sequence=sequence, timestamp=timestamp, limit=limit)
    assert _depacketize_h265(payloads) == nals


def test_parameter_sets_share_one_packet_with_the_highest_importance() -> None:
    sps, pps, idr = b"\x27abc", b"\x68de", b"\x65" + bytes(50)
    packets = packetize(_join([sps, pps, idr]), codec=VideoCodec.H264, sequence=7, timestamp=1, ssrc=2)
    assert [p[12:] for p in packets] == [b"\x78\x00\x04\x27abc\x00\x03\x68de", idr]


def test_a_lone_parameter_set_is_a_single_nal_packet() -> None:
    packets = packetize(_join([b"\x67abc", b"\x65x"]), codec=VideoCodec.H264, sequence=0, timestamp=0, ssrc=0)
    assert [p[12:] for p in packets] == [b"\x67abc", b"\x65x"]


def test_a_nal_of_exactly_the_limit_is_not_fragmented_and_one_more_byte_is() -> None:
    for codec, header in ((VideoCodec.H264, b"\x65"), (VideoCodec.H265, b"\x26\x01")):
        fits = header + bytes(100 - len(header))
        assert len(packetize(_join([fits]), codec=codec, sequence=0, timestamp=0, ssrc=0, max_payload_bytes=100)) == 1
        over = packetize(_join([fits + b"\x01"]), codec=codec, sequence=0, timestamp=0, ssrc=0, max_payload_bytes=100)
        assert len(over) == 2


def test_empty_nal_units_are_left_out() -> None:
    packets = packetize(_join([b"", b"\x65x", b""]), codec=VideoCodec.H264, sequence=0, timestamp=0, ssrc=0)
    assert [p[12:] for p in packets] == [b"\x65x"]


@settings(max_examples=200)
@given(st.binary(max_size=60), st.sampled_from(VideoCodec))
def test_arbitrary_bytes_are_sent_or_refused_as_corrupt(payload: bytes, codec: VideoCodec) -> None:
    refused: ErrorKind | None = None
    packets: list[bytes] = []
    try:
        packets = packetize(payload, codec=codec, sequence=0, timestamp=0, ssrc=0, max_payload_bytes=16)
    except VmsError as error:
        refused = error.kind
    assert refused is (None if packets else ErrorKind.CORRUPT)


@pytest.mark.parametrize(
    "payload", [b"", b"\x00\x00\x00\x00", b"\x00\x00\x00\x05ab", b"\x00\x00", b"\x00\x00\x00\x01a\x00"]
)
def test_units_without_nals_or_with_lengths_that_overrun_are_corrupt(payload: bytes) -> None:
    with pytest.raises(VmsError) as caught:
        packetize(payload, codec=VideoCodec.H264, sequence=0, timestamp=0, ssrc=0)
    assert caught.value.kind is ErrorKind.CORRUPT


@given(_h264_nals(), st.integers(0, 255))
@settings(max_examples=50)
def test_changing_the_channel_changes_nothing_else(nals: list[bytes], channel: int) -> None:
    blob, _ = packetize_interleaved(
        _join(nals), codec=VideoCodec.H264, sequence=1, timestamp=2, ssrc=3, max_payload_bytes=99
    )
    moved = _split(with_channel(blob, channel))
    assert [packet for _, packet in moved] == [packet for _, packet in _split(blob)]
    assert {number for number, _ in moved} == {channel}
