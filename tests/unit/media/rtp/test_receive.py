"""The receive loop: any split of the bytes, losses, odd headers, odd markers, messages between packets, bounds."""

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bitstream import H264_PPS, h264_sps
from tests.support.refusals import only_errors
from tests.support.rtp_packets import SSRC, Sender, goodbye, h264_payloads, interleaved, rtp, sender_report, stap_a

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, FrameFlag, VideoCodec
from vms.media.nal import join_lengths
from vms.media.rtp.payload import make_receiver
from vms.media.rtp.receive import InterleavedReceiver
from vms.media.rtp.units import UnitBuilder
from vms.media.rtsp.message import Headers, Request, Response

T0 = 1_700_000_000_000_000
SPS = h264_sps(fps=25, reorder=0)
KEY = [SPS, H264_PPS, b"\x65\x88" + b"k" * 1000]
FRAMES = [
    KEY,
    [b"\x41\x9a" + b"p" * 950],
    [b"\x41\x9b" + b"q" * 30],
    [b"\x41\x9c" + b"r" * 700, b"\x41\x1c" + b"s" * 700],
]


@dataclass
class Harness:
    """A receiver and all that came out of it."""

    units: list[AccessUnit] = field(default_factory=list)
    messages: list[Request | Response] = field(default_factory=list)
    now_us: int = T0

    def __post_init__(self) -> None:
        self.builder = UnitBuilder(VideoCodec.H264, (), lambda _: None, self.units.append)
        self.receiver: InterleavedReceiver = make_receiver(
            VideoCodec.H264, payload_type=96, channels=(0, 1), builder=self.builder, on_message=self.messages.append
        )

    def feed(self, *chunks: bytes) -> "Harness":
        for chunk in chunks:
            self.now_us += 1000
            self.receiver.feed(chunk, self.now_us)
        return self

    def finish(self) -> "Harness":
        self.receiver.finish()
        return self

    @property
    def payloads(self) -> list[bytes]:
        return [unit.payload for unit in self.units]

    @property
    def corrupt(self) -> list[bool]:
        return [bool(unit.flags & FrameFlag.CORRUPT) for unit in self.units]


def stream_of(frames: list[list[bytes]], sender: Sender | None = None) -> list[list[bytes]]:
    """Packets of each frame."""
    sender = sender or Sender()
    return [sender.frame(h264_payloads(nals)) for nals in frames]


EXPECTED = [join_lengths(nals) for nals in FRAMES]


def settled() -> tuple[Harness, Sender]:
    """A receiver that has seen enough frames to trust the marker, and the sender of what follows."""
    harness, sender = Harness(), Sender()
    for packets in stream_of([KEY, *FRAMES[1:], *FRAMES[1:]], sender):
        harness.feed(*packets)
    harness.units.clear()
    return harness, sender


@settings(max_examples=60)
@given(st.lists(st.integers(1, 4000), max_size=8))
def test_any_split_of_the_bytes_gives_the_same_units(cuts: list[int]) -> None:
    text = Response(200, "OK", Headers([("CSeq", "9")]), b"body").encode()
    groups = stream_of(FRAMES)
    data = b"".join(b"".join(packets) + text + interleaved(b"\x80\xc9\x00\x00", 1) for packets in groups)
    borders = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    harness = Harness().feed(*(data[a:b] for a, b in itertools.pairwise(borders))).finish()
    assert harness.payloads == EXPECTED
    assert not any(harness.corrupt)
    assert len(harness.messages) == len(FRAMES)
    assert harness.receiver.packets == sum(map(len, groups))
    assert harness.receiver.bytes == len(data)


def test_every_single_split_position_gives_the_same_units() -> None:
    data = b"".join(packet for packets in stream_of(FRAMES) for packet in packets)
    for cut in range(len(data)):
        assert Harness().feed(data[:cut], data[cut:]).finish().payloads == EXPECTED


def test_a_unit_is_handed_on_with_its_marker_once_the_camera_is_known() -> None:
    harness, sender = settled()
    harness.feed(*sender.frame(h264_payloads(FRAMES[1])))
    assert harness.payloads == [EXPECTED[1]]


def test_arrival_is_that_of_the_first_packet_of_a_frame() -> None:
    harness = Harness()
    harness.feed(*(packet for packets in stream_of(FRAMES) for packet in packets)).finish()
    assert harness.builder.last_unit_us == T0 + 1000 * (1 + sum(len(h264_payloads(nals)) for nals in FRAMES[:3]))


def test_a_frame_larger_than_the_buffer_comes_whole() -> None:
    big = [SPS, H264_PPS, b"\x65\x88" + bytes(range(256)) * 4000]
    sender = Sender()
    harness = Harness().feed(b"".join(sender.frame(h264_payloads(big, 1400)))).finish()
    assert harness.payloads == [join_lengths(big)]


def test_a_run_of_fragments_goes_on_over_the_wrap_of_the_sequence_number() -> None:
    for first in range(65500, 65536):
        harness = Harness()
        for packets in stream_of([KEY, FRAMES[1]], Sender(sequence=first)):
            harness.feed(b"".join(packets))
        assert harness.finish().payloads == EXPECTED[:2]
        assert harness.receiver.lost_packets == 0
        state = harness.receiver.reception(T0)
        assert state is not None
        assert state.highest_sequence == first + harness.receiver.packets - 1


# --- losses ---------------------------------------------------------------------------------------------


def test_a_lost_fragment_costs_its_nal_unit_and_flags_its_frame() -> None:
    two_slices = FRAMES[3]
    for lost in range(len(h264_payloads(two_slices))):
        harness, sender = settled()
        packets = sender.frame(h264_payloads(two_slices))
        del packets[lost]
        harness.feed(*packets, *sender.frame(h264_payloads(FRAMES[2])), *sender.frame(h264_payloads(FRAMES[2])))
        assert harness.receiver.lost_packets == 1
        assert harness.payloads[-2:] == [EXPECTED[2], EXPECTED[2]]
        damaged = harness.units[0]
        assert damaged.flags & FrameFlag.CORRUPT
        assert damaged.payload in {join_lengths(two_slices[:1]), join_lengths(two_slices[1:])}
        assert not harness.corrupt[-1]


@settings(max_examples=60)
@given(st.sets(st.integers(0, 60), max_size=6), st.integers(0, 3))
def test_a_unit_that_is_not_what_was_sent_is_always_flagged(lost: set[int], merge: int) -> None:
    harness, sender = settled()
    frames = FRAMES[1:] * 3
    packets = [packet for nals in frames for packet in sender.frame(h264_payloads(nals))]
    kept = [packet for n, packet in enumerate(packets) if n not in lost]
    harness.feed(*(b"".join(kept[i : i + merge + 1]) for i in range(0, len(kept), merge + 1)))
    harness.feed(*sender.frame([b"\x41\x9aend"])).finish()
    sent = [join_lengths(nals) for nals in frames]
    for unit in harness.units[:-1]:
        assert unit.payload in sent or unit.flags & FrameFlag.CORRUPT
    assert harness.receiver.lost_packets == len({n for n in lost if n < len(packets)})


def test_a_whole_lost_frame_flags_the_next_one() -> None:
    harness, sender = settled()
    sender.frame(h264_payloads(FRAMES[1]))
    harness.feed(*sender.frame(h264_payloads(FRAMES[2])), *sender.frame(h264_payloads(FRAMES[2])))
    assert harness.payloads == [EXPECTED[2], EXPECTED[2]]
    assert harness.corrupt == [True, False]


def test_a_lost_marker_ends_the_frame_at_the_next_timestamp() -> None:
    harness, sender = settled()
    packets = sender.frame(h264_payloads([b"\x41\x9aone", b"\x41\x1atwo"]))
    harness.feed(packets[0])
    harness.feed(*sender.frame(h264_payloads(FRAMES[2])))
    assert harness.payloads == [join_lengths([b"\x41\x9aone"]), EXPECTED[2]]
    assert harness.corrupt == [True, True]


def test_duplicates_and_old_packets_are_ignored() -> None:
    harness, sender = settled()
    packets = sender.frame(h264_payloads(FRAMES[1]))
    doubled = [packet for packet in packets for _ in range(2)]
    harness.feed(b"".join(doubled), packets[0], *sender.frame(h264_payloads(FRAMES[2])))
    assert harness.payloads == EXPECTED[1:3]
    assert harness.receiver.lost_packets == 0
    assert harness.receiver.ignored_packets == len(packets) + 1


def test_a_sender_that_restarts_its_count_is_followed_from_the_second_packet() -> None:
    harness, sender = settled()
    sender.sequence -= 3000
    harness.feed(*sender.frame([b"\x41\x9aa", b"\x41\x9ab", b"\x41\x9ac"]), *sender.frame([b"\x41\x9ad"]))
    assert harness.payloads == [join_lengths([b"\x41\x9ab", b"\x41\x9ac"]), join_lengths([b"\x41\x9ad"])]
    assert harness.corrupt == [True, False]
    assert harness.receiver.lost_packets == 0


def test_a_new_ssrc_is_a_new_timeline() -> None:
    harness, sender = settled()
    harness.feed(*sender.frame([b"\x41\x9aold"]), *sender.frame([b"\x41\x9acut"], marker=False))
    other = Sender(sequence=3, timestamp=12345, ssrc=0x99)
    harness.feed(*other.frame(h264_payloads(KEY)), *other.frame(h264_payloads(FRAMES[1])))
    assert harness.payloads == [
        join_lengths([b"\x41\x9aold"]),
        join_lengths([b"\x41\x9acut"]),
        EXPECTED[0],
        EXPECTED[1],
    ]
    assert [bool(unit.flags & FrameFlag.DISCONTINUITY) for unit in harness.units] == [False, False, True, False]
    assert harness.units[2].pts_90k > harness.units[1].pts_90k
    assert harness.receiver.lost_packets == 0


# --- headers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("csrc", [0, 1, 15])
@pytest.mark.parametrize("extension", [None, b"", b"12345678"])
@pytest.mark.parametrize("padding", [0, 1, 9])
def test_contributing_sources_extension_and_padding_are_passed_over(
    csrc: int, extension: bytes | None, padding: int
) -> None:
    harness, sender = settled()
    for n, payload in enumerate(payloads := h264_payloads(FRAMES[1])):
        last = n == len(payloads) - 1
        packet = rtp(
            sender.sequence + n, sender.timestamp, payload, marker=last, csrc=csrc, extension=extension, padding=padding
        )
        harness.feed(interleaved(packet))
    assert harness.payloads == [EXPECTED[1]]
    assert harness.corrupt == [False]


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x80\x60\x00",
        rtp(1, 1, b""),
        rtp(1, 1, b"\x41x", payload_type=97),
        b"\x00" + rtp(1, 1, b"\x41x")[1:],
        rtp(1, 1, b"\x41", padding=2)[:-1] + b"\xff",
        b"\x9f" + rtp(1, 1, b"\x41x")[1:],
        b"\x90" + rtp(1, 1, b"\x41\x9a\xff\xff")[1:],
    ],
)
def test_packets_that_are_no_rtp_of_this_stream_are_ignored(packet: bytes) -> None:
    harness, sender = settled()
    before = harness.receiver.ignored_packets
    harness.feed(interleaved(packet), *sender.frame([b"\x41\x9anext"]))
    assert harness.payloads == [join_lengths([b"\x41\x9anext"])]
    assert harness.receiver.ignored_packets == before + 1
    assert harness.corrupt == [False]


def test_other_channels_are_ignored() -> None:
    harness, sender = settled()
    harness.feed(interleaved(b"audio", 2), *sender.frame([b"\x41\x9anext"]))
    assert harness.payloads == [join_lengths([b"\x41\x9anext"])]
    assert harness.receiver.ignored_packets == 1


# --- frame ends -----------------------------------------------------------------------------------------


def test_a_camera_that_never_sets_the_marker_is_cut_by_timestamps() -> None:
    sender, harness = Sender(), Harness()
    for nals in FRAMES * 2:
        harness.feed(*sender.frame(h264_payloads(nals), marker=False))
    assert harness.payloads == (EXPECTED * 2)[:-1]
    harness.finish()
    assert harness.payloads == EXPECTED * 2
    assert harness.corrupt == [False] * 7 + [True]  # nothing says that the last one is whole


def test_a_camera_that_marks_every_slice_gets_its_frames_whole() -> None:
    sender, harness = Sender(), Harness()
    frames = [
        [SPS, H264_PPS, b"\x65\x88one", b"\x65\x11two"],
        [b"\x41\x9aone", b"\x41\x11two"],
        [b"\x41\x9bone", b"\x41\x12two"],
    ]
    for nals in frames * 3:
        for n, nal in enumerate(nals):
            harness.feed(interleaved(rtp(sender.sequence, sender.timestamp, nal, marker=True)))
            sender.sequence += 1
            assert len(harness.units) <= 9, n
        sender.timestamp += 3600
    harness.finish()
    assert harness.payloads == [join_lengths(nals) for nals in frames * 3]
    assert not any(harness.corrupt)


def test_parameter_sets_with_marker_and_timestamp_of_their_own_go_with_their_keyframe() -> None:
    harness, sender = settled()
    harness.feed(*sender.frame([SPS], step=0), *sender.frame([H264_PPS], step=1), *sender.frame([b"\x65\x88key"]))
    assert harness.payloads == [join_lengths([SPS, H264_PPS, b"\x65\x88key"])]
    assert harness.units[0].is_keyframe


def test_parameter_sets_in_one_packet_with_the_keyframe_behind() -> None:
    sender = Sender()
    harness = Harness().feed(*sender.frame([stap_a([SPS, H264_PPS])], step=0), *sender.frame([b"\x65\x88key"])).finish()
    assert harness.payloads == [join_lengths([SPS, H264_PPS, b"\x65\x88key"])]


# --- control --------------------------------------------------------------------------------------------


def test_messages_between_packets_come_out_in_order() -> None:
    harness, sender = settled()
    request = Request("OPTIONS", "*", Headers([("CSeq", "1")]))
    response = Response(200, "OK", Headers([("CSeq", "2"), ("Content-Length", "3")]), b"$$$")
    harness.feed(request.encode() + b"".join(sender.frame([b"\x41\x9a"])) + response.encode())
    assert harness.messages == [request, response]
    assert len(harness.units) == 1


def test_sender_reports_give_the_offset_of_the_camera_clock() -> None:
    harness, sender = settled()
    wall = harness.now_us + 300_000
    harness.feed(interleaved(sender_report(wall, sender.timestamp - 3600), 1))
    assert harness.builder.clock.clock_offset_us is not None
    assert harness.receiver.reception(T0) is not None
    before = harness.builder.clock.clock_offset_us
    harness.feed(interleaved(sender_report(wall + 5_000_000, sender.timestamp - 3600, ssrc=SSRC + 1), 1))
    assert harness.builder.clock.clock_offset_us == before


@pytest.mark.parametrize(("ssrc", "late_us"), [(SSRC, 0), (SSRC + 1, 800_000)])
def test_a_report_ahead_of_the_first_packet_counts_if_it_is_of_that_source(ssrc: int, late_us: int) -> None:
    sender = Sender()
    harness = Harness()
    captured_us = harness.now_us - 800_000
    report = sender_report(harness.now_us, sender.timestamp + 72_000, ssrc=ssrc)  # 0.8 s after the first frame
    harness.feed(interleaved(report, 1), *sender.frame(h264_payloads(KEY)), *sender.frame([b"\x41\x9a"]))
    assert abs(harness.units[0].capture_us - captured_us - late_us) < 5000


def test_goodbye_hands_on_the_last_unit_and_closes() -> None:
    sender = Sender()
    harness = Harness().feed(*sender.frame(h264_payloads(KEY)))
    harness.feed(interleaved(goodbye(SSRC + 1), 1))
    with pytest.raises(VmsError, match="BYE") as caught:
        harness.feed(interleaved(goodbye(), 1))
    assert caught.value.kind is ErrorKind.CLOSED
    assert harness.payloads == [EXPECTED[0]]
    assert harness.corrupt == [False]


def test_reception_counts_losses_since_the_last_report() -> None:
    assert Harness().receiver.reception(T0) is None
    harness, sender = settled()
    harness.receiver.reception(T0)
    sender.sequence += 1
    harness.feed(*sender.frame([b"\x41\x9a"]))
    state = harness.receiver.reception(T0)
    assert state is not None
    assert (state.ssrc, state.lost_total, state.lost_fraction) == (SSRC, 1, 0.5)
    state = harness.receiver.reception(T0)
    assert state is not None
    assert state.lost_fraction == 0.0


# --- bounds and garbage ---------------------------------------------------------------------------------


def test_an_endless_frame_is_refused_before_it_eats_the_memory() -> None:
    harness, sender = settled()
    harness.feed(*sender.frame([b"\x5c\x81first"], marker=False, step=0))
    chunk = [b"\x5c\x01" + bytes(60_000)] * 4
    endless = (b"".join(sender.frame(chunk, marker=False, step=0)) for _ in range(150))
    with pytest.raises(VmsError, match="16 MB") as caught:
        harness.feed(*endless)
    assert harness.receiver.bytes < 24 * 1024 * 1024
    assert caught.value.kind is ErrorKind.PROTOCOL


def test_a_frame_of_too_many_nal_units_is_refused() -> None:
    harness, sender = settled()
    with pytest.raises(VmsError, match="NAL units"):
        harness.feed(*sender.frame([stap_a([b"\x41"] * 1000)] * 5))


def test_bytes_that_are_neither_packet_nor_message_are_a_protocol_error() -> None:
    harness, _ = settled()
    with pytest.raises(VmsError) as caught:
        harness.feed(b"\x00\x01garbage")
    assert caught.value.kind is ErrorKind.PROTOCOL


@settings(max_examples=150)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40).map(interleaved),
            st.binary(max_size=30),
            st.just(b"RTSP/1.0 200 OK\r\n\r\n"),
            st.sampled_from([p for g in stream_of(FRAMES) for p in g]),
            st.binary(max_size=40).map(lambda b: interleaved(b"\x80\x60\x00\x01\x00\x00\x00\x01\x11\x22\x33\x44" + b)),
        ),
        max_size=12,
    )
)
def test_whatever_comes_only_documented_errors_come_out(chunks: list[bytes]) -> None:
    with only_errors(ErrorKind.PROTOCOL, ErrorKind.CLOSED):
        Harness().feed(*chunks).finish()
