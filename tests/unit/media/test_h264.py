"""H.264 parameter sets: sizes, rates and depths as written, real cameras', and configuration records both ways."""

import base64
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bitstream import H264_PPS, BitWriter, h264_sps
from tests.support.refusals import only_errors

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec
from vms.media import h264

ASSETS = Path(__file__).parents[4] / "shared/assets/sdp/retina"


@settings(max_examples=80)
@given(
    width=st.integers(1, 4096).map(lambda n: 2 * n),
    height=st.integers(1, 4096).map(lambda n: 2 * n),
    profile=st.sampled_from([77, 100]),
    fps=st.none() | st.integers(1, 240),
    reorder=st.none() | st.integers(0, 16),
)
def test_what_an_sps_says_is_read(width: int, height: int, profile: int, fps: int | None, reorder: int | None) -> None:
    info = h264.parse_sps(h264_sps(width, height, profile=profile, fps=fps, reorder=reorder))
    assert (info.width, info.height) == (width, height)
    assert info.frame_rate == fps
    assert info.reorder_frames == reorder
    assert info.codec_string == f"avc1.{profile:02X}001F"


@pytest.mark.skipif(not ASSETS.is_dir(), reason="real cameras' descriptions (../shared/assets/sdp) are not here")
@pytest.mark.parametrize(
    ("camera", "width", "height", "fps", "reorder", "name"),
    [
        ("hikvision_describe", 1920, 1080, 30.0, None, "avc1.4D0029"),
        ("dahua_describe_h264_aac_onvif", 704, 480, 15.0, None, "avc1.64001E"),
        ("missing_content_type_describe", 320, 180, 30.0, 2, "avc1.64000D"),
        ("bunny_describe", 240, 160, 24.0, 0, "avc1.42C01E"),
    ],
)
def test_sps_of_real_cameras(camera: str, width: int, height: int, fps: float, reorder: int | None, name: str) -> None:
    match = re.search(r"sprop-parameter-sets=([^,]+),", (ASSETS / f"{camera}.txt").read_text())
    assert match
    info = h264.parse_sps(base64.b64decode(match[1]))
    assert (info.width, info.height, info.frame_rate, info.codec_string) == (width, height, fps, name)
    assert info.reorder_frames == reorder


def test_baseline_and_picture_order_type_2_never_reorder_and_others_are_unknown() -> None:
    assert h264.parse_sps(h264_sps(profile=66)).reorder_frames == 0
    assert h264.parse_sps(h264_sps(poc_type=2)).reorder_frames == 0
    assert h264.parse_sps(h264_sps()).reorder_frames is None


@settings(max_examples=200)
@given(st.binary(max_size=80), st.integers(0, 40))
def test_garbage_in_an_sps_raises_nothing_but_a_protocol_error(garbage: bytes, keep: int) -> None:
    with only_errors(ErrorKind.PROTOCOL):
        h264.parse_sps(h264_sps(fps=25, reorder=1)[:keep] + garbage)


@settings(max_examples=50)
@given(
    st.lists(st.integers(0, 31).map(lambda n: h264_sps(sps_id=n)), min_size=1, max_size=3),
    st.lists(st.binary(max_size=20).map(lambda b: b"\x68" + b), min_size=1, max_size=3),
)
def test_a_configuration_record_gives_its_sets_back(sps: list[bytes], pps: list[bytes]) -> None:
    assert h264.parameter_sets(h264.avcc(sps, pps)) == sps + pps


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_a_broken_configuration_record_is_corrupt_and_nothing_else(record: bytes) -> None:
    with only_errors(ErrorKind.CORRUPT):
        h264.parameter_sets(record)


def test_the_record_has_four_byte_lengths_and_the_high_profile_extension() -> None:
    record = h264.avcc([h264_sps(profile=100)], [H264_PPS])
    assert record[:6] == bytes((1, 100, 0, 31, 0xFF, 0xE1))
    assert record[-4:] == bytes((0xFD, 0xF8, 0xF8, 0))
    assert h264.avcc([h264_sps(profile=77)], [H264_PPS]).endswith(H264_PPS)


def test_parameters_describe_the_stream() -> None:
    found = h264.parameters([h264_sps(1280, 720, fps=25, reorder=2)], [H264_PPS])
    assert found.codec is VideoCodec.H264
    assert (found.width, found.height, found.frame_rate, found.reorder_frames) == (1280, 720, 25.0, 2)
    assert found.codec_string == "avc1.64001F"


@pytest.mark.parametrize(
    ("sps", "pps"),
    [
        ([], [H264_PPS]),
        ([h264_sps()], []),
        ([h264_sps()] * 32, [H264_PPS]),
        ([h264_sps()], [b"\x68" * 9000]),
        ([h264_sps()], [b""]),
    ],
)
def test_sets_that_make_no_record_are_a_protocol_error(sps: list[bytes], pps: list[bytes]) -> None:
    with pytest.raises(VmsError) as caught:
        h264.avcc(sps, pps)
    assert caught.value.kind is ErrorKind.PROTOCOL


def test_nal_types_and_slices() -> None:
    assert h264.nal_type(b"\x65") == h264.NAL_IDR
    assert h264.nal_type(b"") == 0
    assert [kind for kind in range(32) if h264.is_slice(kind)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("slice_type", "intra"), [(0, False), (1, False), (2, True), (4, True), (5, False), (7, True), (9, True)]
)
def test_intra_slices_are_told_by_their_type(slice_type: int, intra: bool) -> None:  # noqa: FBT001
    nal = b"\x41" + BitWriter().ue(0).ue(slice_type).ue(0).rbsp()
    assert h264.is_intra_slice(nal) is intra


def test_a_recovery_point_is_found_behind_other_sei_messages() -> None:
    other = b"\x05" + bytes((0xFF, 1)) + b"u" * 256
    assert h264.is_recovery_point(b"\x06" + other + b"\x06\x01\x84" + b"\x80")
    assert not h264.is_recovery_point(b"\x06" + other + b"\x06\x01\x44" + b"\x80")  # recovery_frame_cnt 1
    assert not h264.is_recovery_point(b"\x06" + other + b"\x80")
    assert not h264.is_recovery_point(b"\x65\x06\x01\x84\x80")


@settings(max_examples=100)
@given(st.binary(max_size=40))
def test_any_sei_and_slice_can_be_asked(data: bytes) -> None:
    assert h264.is_recovery_point(b"\x06" + data) in {True, False}
    assert h264.is_intra_slice(data) in {True, False}
