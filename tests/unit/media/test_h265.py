"""H.265 parameter sets: sizes, rates and depths as written, real cameras', and configuration records both ways."""

import base64
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bitstream import H265_PPS, H265_VPS, h265_sps
from tests.support.refusals import only_errors

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec
from vms.media import h265

ASSET = Path(__file__).parents[4] / "shared/assets/sdp/gortsplib_sdpunmarshaler/026_issue_mediamtx_990_TP_Link_.sdp"


@settings(max_examples=80)
@given(
    width=st.integers(4, 4096).map(lambda n: 2 * n),
    height=st.integers(4, 4096).map(lambda n: 2 * n),
    fps=st.none() | st.integers(1, 240),
    reorder=st.integers(0, 4),
)
def test_what_an_sps_says_is_read(width: int, height: int, fps: int | None, reorder: int) -> None:
    info = h265.parse_sps(h265_sps(width, height, fps=fps, reorder=reorder))
    assert (info.width, info.height) == (width, height)
    assert info.frame_rate == fps
    assert info.reorder_frames == reorder
    assert info.codec_string == "hvc1.1.6.L93.B0"
    assert (info.profile_idc, info.level_idc) == (1, 93)


@pytest.mark.skipif(not ASSET.is_file(), reason="real cameras' descriptions (../shared/assets/sdp) are not here")
def test_sps_of_a_real_camera() -> None:
    match = re.search(r"sprop-sps=([^;]+);", ASSET.read_text())
    assert match
    info = h265.parse_sps(base64.b64decode(match[1]))
    assert (info.width, info.height, info.frame_rate, info.codec_string) == (2304, 1296, 15.0, "hvc1.1.6.L150")


@settings(max_examples=200)
@given(st.binary(max_size=80), st.integers(0, 60))
def test_garbage_in_an_sps_raises_nothing_but_a_protocol_error(garbage: bytes, keep: int) -> None:
    with only_errors(ErrorKind.PROTOCOL):
        h265.parse_sps(h265_sps(fps=25)[:keep] + garbage)


def test_a_damaged_tail_costs_the_frame_rate_only() -> None:
    whole = h265_sps(1280, 720, fps=25)
    info = h265.parse_sps(whole[:-9])
    assert (info.width, info.height, info.frame_rate) == (1280, 720, None)


@settings(max_examples=50)
@given(
    st.lists(st.binary(max_size=20).map(lambda b: b"\x40\x01" + b), min_size=1, max_size=2),
    st.lists(st.integers(16, 64).map(lambda n: h265_sps(2 * n, 64)), min_size=1, max_size=2),
    st.lists(st.binary(max_size=20).map(lambda b: b"\x44\x01" + b), min_size=1, max_size=3),
)
def test_a_configuration_record_gives_its_sets_back(vps: list[bytes], sps: list[bytes], pps: list[bytes]) -> None:
    assert h265.parameter_sets(h265.hvcc(vps, sps, pps)) == vps + sps + pps


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_a_broken_configuration_record_is_corrupt_and_nothing_else(record: bytes) -> None:
    with only_errors(ErrorKind.CORRUPT):
        h265.parameter_sets(record)


def test_the_record_repeats_the_general_profile() -> None:
    sps = h265_sps()
    record = h265.hvcc([H265_VPS], [sps], [H265_PPS])
    assert record[0] == 1
    assert record[1:13] == h265.parse_sps(sps).profile_tier_level
    assert record[16:22] == bytes((0xFD, 0xF8, 0xF8, 0, 0, 0x0F))
    assert record[22] == 3


def test_parameters_describe_the_stream() -> None:
    found = h265.parameters([H265_VPS], [h265_sps(1920, 1080, fps=25, reorder=2)], [H265_PPS])
    assert found.codec is VideoCodec.H265
    assert (found.width, found.height, found.frame_rate, found.reorder_frames) == (1920, 1080, 25.0, 2)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_missing_set_is_a_protocol_error(missing: int) -> None:
    sets = [[H265_VPS], [h265_sps()], [H265_PPS]]
    sets[missing] = []
    with pytest.raises(VmsError) as caught:
        h265.hvcc(*sets)
    assert caught.value.kind is ErrorKind.PROTOCOL


def test_nal_types() -> None:
    assert h265.nal_type(b"\x42\x01") == h265.NAL_SPS
    assert h265.nal_type(b"") == 63
    assert [kind for kind in range(64) if h265.is_irap(kind)] == list(range(16, 24))
    assert h265.is_slice(31)
    assert not h265.is_slice(32)
