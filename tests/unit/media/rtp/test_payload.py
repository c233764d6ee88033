"""Payload formats: every packetisation of the same NAL units gives the same access unit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bitstream import H264_PPS, H265_PPS, H265_VPS, h264_sps, h265_sps
from tests.support.rtp_packets import Sender, aggregate_h265, h264_payloads, h265_payloads, stap_a

from vms.common.stream import AccessUnit, FrameFlag, VideoCodec
from vms.media.nal import join_lengths
from vms.media.rtp.packetize import packetize_interleaved
from vms.media.rtp.payload import make_receiver
from vms.media.rtp.units import UnitBuilder

T0 = 1_700_000_000_000_000
SPS = h264_sps(fps=25, reorder=0)
HEVC_SETS = [H265_VPS, h265_sps(fps=25), H265_PPS]


def receive(codec: VideoCodec, packets: list[bytes]) -> list[AccessUnit]:
    units: list[AccessUnit] = []
    builder = UnitBuilder(codec, (), lambda _: None, units.append)
    receiver = make_receiver(codec, payload_type=96, channels=(0, 1), builder=builder, on_message=lambda _: None)
    for n, packet in enumerate(packets):
        receiver.feed(packet, T0 + 1000 * n)
    receiver.finish()
    return units


def nal_units(codec: VideoCodec) -> st.SearchStrategy[list[list[bytes]]]:
    """Frames of one to four slices of any size; the first one is a keyframe with its parameter sets."""
    header = b"\x41" if codec is VideoCodec.H264 else b"\x02\x01"
    key_header = b"\x65" if codec is VideoCodec.H264 else b"\x26\x01"
    sets = [SPS, H264_PPS] if codec is VideoCodec.H264 else HEVC_SETS
    body = st.integers(1, 600).flatmap(lambda n: st.binary(min_size=4, max_size=4).map(lambda b: (b * 150)[:n]))
    slices = st.lists(body, min_size=1, max_size=4)
    first = slices.map(lambda bodies: sets + [key_header + b for b in bodies])
    others = st.lists(slices.map(lambda bodies: [header + b for b in bodies]), max_size=4)
    return st.tuples(first, others).map(lambda pair: [pair[0], *pair[1]])


@settings(max_examples=60)
@given(nal_units(VideoCodec.H264), st.integers(10, 500))
def test_h264_frames_come_back_from_any_fragmentation(frames: list[list[bytes]], size: int) -> None:
    sender = Sender()
    packets = [packet for nals in frames for packet in sender.frame(h264_payloads(nals, size))]
    units = receive(VideoCodec.H264, packets)
    assert [unit.payload for unit in units] == [join_lengths(nals) for nals in frames]
    assert not any(unit.flags & FrameFlag.CORRUPT for unit in units)


@settings(max_examples=60)
@given(nal_units(VideoCodec.H265), st.integers(10, 500))
def test_h265_frames_come_back_from_any_fragmentation(frames: list[list[bytes]], size: int) -> None:
    sender = Sender()
    packets = [packet for nals in frames for packet in sender.frame(h265_payloads(nals, size))]
    units = receive(VideoCodec.H265, packets)
    assert [unit.payload for unit in units] == [join_lengths(nals) for nals in frames]
    assert not any(unit.flags & FrameFlag.CORRUPT for unit in units)


@settings(max_examples=40)
@given(
    st.sampled_from(VideoCodec).flatmap(lambda codec: st.tuples(st.just(codec), nal_units(codec))),
    st.integers(60, 1400),
)
def test_what_the_server_packetises_the_client_receives(
    stream: tuple[VideoCodec, list[list[bytes]]], size: int
) -> None:
    codec, frames = stream
    blobs, sequence = [], 65530
    for n, nals in enumerate(frames):
        blob, packets = packetize_interleaved(
            join_lengths(nals), codec=codec, sequence=sequence, timestamp=n * 3600, ssrc=7, max_payload_bytes=size
        )
        sequence += packets
        blobs.append(blob)
    assert [unit.payload for unit in receive(codec, blobs)] == [join_lengths(nals) for nals in frames]


def test_aggregation_packets_are_taken_apart_and_delimiters_left_out() -> None:
    sender = Sender()
    packets = sender.frame([stap_a([b"\x09\xf0", SPS, H264_PPS, b"\x06\x05sei", b"\x65\x88"])])
    packets += sender.frame([b"\x09\xf0", b"\x41\x9a"])
    units = receive(VideoCodec.H264, packets)
    assert [u.payload for u in units] == [
        join_lengths([SPS, H264_PPS, b"\x06\x05sei", b"\x65\x88"]),
        join_lengths([b"\x41\x9a"]),
    ]
    sender = Sender()
    packets = sender.frame([aggregate_h265([b"\x46\x01\x50", *HEVC_SETS, b"\x4e\x01sei", b"\x26\x01idr"])])
    packets += sender.frame([b"\x46\x01\x50", b"\x02\x01p"])
    units = receive(VideoCodec.H265, packets)
    assert [u.payload for u in units] == [
        join_lengths([*HEVC_SETS, b"\x4e\x01sei", b"\x26\x01idr"]),
        join_lengths([b"\x02\x01p"]),
    ]


@pytest.mark.parametrize(
    ("codec", "key", "odd", "corrupt"),
    [
        (VideoCodec.H264, stap_a([SPS, H264_PPS, b"\x65\x88"]), b"\x78\x00\x09cut", True),
        (VideoCodec.H264, stap_a([SPS, H264_PPS, b"\x65\x88"]), b"\x7d\x85interleaved", True),
        (VideoCodec.H264, stap_a([SPS, H264_PPS, b"\x65\x88"]), b"\x7cfragment without start", True),
        (VideoCodec.H264, stap_a([SPS, H264_PPS, b"\x65\x88"]), b"\x7ereserved", False),
        (VideoCodec.H265, aggregate_h265([*HEVC_SETS, b"\x26\x01k"]), b"\x60\x01\x00\x09cut", True),
        (VideoCodec.H265, aggregate_h265([*HEVC_SETS, b"\x26\x01k"]), b"\x62\x01\x01fragment without start", True),
        (VideoCodec.H265, aggregate_h265([*HEVC_SETS, b"\x26\x01k"]), b"\x64\x01paci", True),
        (VideoCodec.H265, aggregate_h265([*HEVC_SETS, b"\x26\x01k"]), b"\x7e\x01reserved", False),
        (VideoCodec.H265, aggregate_h265([*HEVC_SETS, b"\x26\x01k"]), b"\x02", False),
    ],
)
def test_a_payload_that_cannot_be_used_is_left_out_and_told(
    codec: VideoCodec,
    key: bytes,
    odd: bytes,
    corrupt: bool,  # noqa: FBT001
) -> None:
    slice_nal = b"\x41\x9a" if codec is VideoCodec.H264 else b"\x02\x01p"
    sender = Sender()
    units = receive(codec, sender.frame([key]) + sender.frame([odd, slice_nal]))
    assert units[1].payload == join_lengths([slice_nal])
    assert bool(units[1].flags & FrameFlag.CORRUPT) is corrupt


def test_a_fragment_that_starts_and_ends_at_once_is_a_nal_unit() -> None:
    sender = Sender()
    units = receive(VideoCodec.H264, sender.frame([SPS, H264_PPS, b"\x7c\xc5\x88all"]))
    assert units[0].payload == join_lengths([SPS, H264_PPS, b"\x65\x88all"])
