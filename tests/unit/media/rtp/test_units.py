"""From payloads to access units: start, keyframes, parameters, flags, times."""

import pytest
from tests.support.bitstream import H264_PPS, H265_PPS, H265_VPS, BitWriter, h264_sps, h265_sps

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, FrameFlag, VideoCodec, VideoParameters
from vms.media.nal import join_lengths
from vms.media.rtp.rtcp import SenderReport
from vms.media.rtp.units import NO_KEYFRAME_US, RECOVERY_AFTER_US, UnitBuilder

T0 = 1_700_000_000_000_000
FRAME_US = 40_000


class Stream:
    """A builder with what it gave, and a camera's clock."""

    def __init__(self, codec: VideoCodec = VideoCodec.H264, sets: tuple[bytes, ...] = ()) -> None:
        self.codec = codec
        self.events: list[AccessUnit | VideoParameters] = []
        self.builder = UnitBuilder(codec, sets, self.events.append, self.events.append)
        self.frame = 0

    @property
    def units(self) -> list[AccessUnit]:
        return [event for event in self.events if isinstance(event, AccessUnit)]

    @property
    def parameters(self) -> list[VideoParameters]:
        return [event for event in self.events if isinstance(event, VideoParameters)]

    def add(self, *nals: bytes, corrupt: bool = False, new_source: bool = False, skip: int = 0) -> None:
        self.frame += skip
        kinds = 0
        for nal in nals:
            kinds |= 1 << (nal[0] & 0x1F if self.codec is VideoCodec.H264 else nal[0] >> 1 & 0x3F)
        arrival = T0 + self.frame * FRAME_US
        self.builder.add(join_lengths(nals), kinds, self.frame * 3600, arrival, corrupt=corrupt, new_source=new_source)
        self.frame += 1


IDR = b"\x65\x88keyframe"
P = b"\x41\x9aframe"
SPS = h264_sps(fps=25, reorder=0)


def test_nothing_is_handed_on_before_the_first_keyframe() -> None:
    stream = Stream(sets=(SPS, H264_PPS))
    stream.add(P)
    stream.add(IDR)
    stream.add(P)
    assert isinstance(stream.events[0], VideoParameters)
    assert [(u.seq, u.pts_90k, u.dts_90k, u.flags) for u in stream.units] == [
        (0, 0, 0, FrameFlag.KEYFRAME | FrameFlag.DISCONTINUITY),
        (1, 3600, 3600, 0),
    ]
    assert stream.builder.units_skipped == 1
    assert stream.units[0].capture_us == T0 + FRAME_US


def test_without_parameter_sets_in_the_sdp_the_first_in_band_ones_begin_the_stream() -> None:
    stream = Stream()
    stream.add(IDR)
    stream.add(SPS, H264_PPS, IDR)
    assert len(stream.units) == 1
    assert stream.units[0].payload == join_lengths([SPS, H264_PPS, IDR])


def test_other_in_band_parameters_hold_from_their_keyframe_on() -> None:
    stream = Stream(sets=(SPS, H264_PPS))
    stream.add(IDR)
    stream.add(h264_sps(1280, 720, reorder=0), H264_PPS, P)
    assert [p.width for p in stream.parameters] == [640]
    stream.add(IDR)
    assert [p.width for p in stream.parameters] == [640, 1280]
    assert isinstance(stream.events[-1], AccessUnit)
    assert isinstance(stream.events[-2], VideoParameters)


def test_a_stale_sdp_yields_to_the_first_keyframe() -> None:
    stream = Stream(sets=(h264_sps(320, 240), H264_PPS))
    stream.add(SPS, H264_PPS, IDR)
    assert [p.width for p in stream.parameters] == [640]


def test_a_declared_reorder_depth_delays_dts() -> None:
    stream = Stream(sets=(h264_sps(fps=25, reorder=2), H264_PPS))
    stream.add(IDR)
    assert (stream.units[0].pts_90k, stream.units[0].dts_90k) == (7200, 0)


def test_lost_packets_are_a_flag_and_a_count() -> None:
    stream = Stream(sets=(SPS, H264_PPS))
    stream.add(IDR)
    stream.add(P, corrupt=True)
    assert stream.units[1].flags == FrameFlag.CORRUPT
    assert stream.builder.corrupt_units == 1


def test_a_new_source_is_a_discontinuity() -> None:
    stream = Stream(sets=(SPS, H264_PPS))
    stream.add(IDR)
    stream.add(IDR, new_source=True)
    assert stream.units[1].flags == FrameFlag.KEYFRAME | FrameFlag.DISCONTINUITY


def test_a_step_of_the_camera_clock_is_a_discontinuity() -> None:
    stream = Stream(sets=(SPS, H264_PPS))
    stream.add(IDR)
    stream.builder.sender_report(SenderReport(1, T0 + 1_500_000, 0, 0), T0)
    stream.add(P)
    stream.add(P)
    assert [u.flags & FrameFlag.DISCONTINUITY for u in stream.units[1:]] == [FrameFlag.DISCONTINUITY, 0]
    assert stream.units[1].capture_us == T0 + 1_500_000 + FRAME_US


def test_reports_without_wall_time_say_nothing() -> None:
    stream = Stream(sets=(SPS, H264_PPS))
    stream.builder.sender_report(SenderReport(1, -5, 0, 0), T0)
    stream.add(IDR)
    stream.builder.sender_report(SenderReport(1, -5, 0, 0), T0)
    assert stream.builder.clock.clock_offset_us is None


def test_a_report_ahead_of_the_first_unit_gives_a_backlog_the_times_at_which_it_was_captured() -> None:
    stream = Stream(sets=(SPS, H264_PPS))
    stream.builder.sender_report(SenderReport(1, T0, 90_000, 0), T0)  # RTP time 0 was a second before
    stream.add(IDR)
    stream.add(P)
    assert [u.capture_us for u in stream.units] == [T0 - 1_000_000, T0 - 1_000_000 + FRAME_US]


RECOVERY = b"\x06\x06\x01\x84\x80"
I_SLICE = b"\x41" + BitWriter().ue(0).ue(7).ue(0).rbsp()
P_SLICE = b"\x41" + BitWriter().ue(0).ue(5).ue(0).rbsp()


def test_a_recovery_point_counts_as_keyframe_only_after_a_time_without_idr() -> None:
    stream = Stream(sets=(SPS, H264_PPS))
    stream.add(IDR)
    stream.add(RECOVERY, I_SLICE)
    assert not stream.units[-1].is_keyframe
    stream.add(RECOVERY, P_SLICE, skip=RECOVERY_AFTER_US // FRAME_US)
    assert not stream.units[-1].is_keyframe
    stream.add(I_SLICE)
    assert not stream.units[-1].is_keyframe
    stream.add(RECOVERY, I_SLICE)
    assert stream.units[-1].is_keyframe


def test_a_stream_that_never_sends_idr_begins_at_a_recovery_point() -> None:
    stream = Stream(sets=(SPS, H264_PPS))
    stream.add(RECOVERY, I_SLICE)
    assert not stream.units
    stream.add(RECOVERY, I_SLICE, skip=RECOVERY_AFTER_US // FRAME_US)
    assert stream.units[0].is_keyframe


def test_a_minute_without_keyframe_ends_the_session_with_advice() -> None:
    stream = Stream(sets=(SPS, H264_PPS))
    stream.add(P)
    with pytest.raises(VmsError, match="I-frame interval") as caught:
        stream.add(P, skip=NO_KEYFRAME_US // FRAME_US)
    assert caught.value.kind is ErrorKind.TIMEOUT


def test_a_minute_without_parameter_sets_ends_the_session() -> None:
    stream = Stream()
    stream.add(IDR)
    with pytest.raises(VmsError, match="parameter sets"):
        stream.add(IDR, skip=NO_KEYFRAME_US // FRAME_US)


HEVC_SETS = (H265_VPS, h265_sps(fps=25, reorder=2), H265_PPS)


def h265_nal(kind: int) -> bytes:
    return bytes((kind << 1, 1)) + b"data"


@pytest.mark.parametrize("kind", range(16, 22))
def test_every_random_access_picture_of_h265_is_a_keyframe(kind: int) -> None:
    stream = Stream(VideoCodec.H265, HEVC_SETS)
    stream.add(h265_nal(kind))
    assert stream.units[0].is_keyframe


def test_leading_pictures_of_the_first_cra_that_cannot_be_decoded_are_skipped() -> None:
    stream = Stream(VideoCodec.H265, HEVC_SETS)
    for kind in (21, 9, 8, 1, 21, 9, 1):
        stream.add(h265_nal(kind))
    assert [u.payload[4] >> 1 for u in stream.units] == [21, 1, 21, 9, 1]
    assert stream.builder.units_skipped == 2
