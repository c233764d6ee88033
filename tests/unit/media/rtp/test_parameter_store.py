"""Parameter sets: complete, changed, replaced, damaged."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bitstream import H264_PPS, H265_PPS, H265_VPS, BitWriter, h264_sps, h265_sps

from vms.common.stream import VideoCodec
from vms.media import h264
from vms.media.rtp.parameter_store import ParameterStore


def pps(pps_id: int, tail: int) -> bytes:
    return b"\x68" + BitWriter().ue(pps_id).ue(0).u(8, tail).rbsp()


def test_parameters_are_given_once_they_are_complete_and_then_only_when_they_change() -> None:
    store = ParameterStore(VideoCodec.H264)
    store.update([h264_sps()])
    assert store.take_change() is None
    store.update([H264_PPS, b"\x65slice"])
    found = store.take_change()
    assert found is not None
    assert found.resolution.width == 640
    store.update([h264_sps(), H264_PPS])
    assert store.take_change() is None
    store.update([h264_sps(1280, 720), H264_PPS])
    changed = store.take_change()
    assert changed is not None
    assert changed.resolution.width == 1280
    assert h264.parameter_sets(changed.codec_private) == [h264_sps(1280, 720), H264_PPS]


def test_h265_needs_all_three() -> None:
    store = ParameterStore(VideoCodec.H265)
    store.update([H265_VPS, H265_PPS])
    assert store.take_change() is None
    store.update([h265_sps(1920, 1080)])
    found = store.take_change()
    assert found is not None
    assert found.codec is VideoCodec.H265


def test_several_picture_parameter_sets_add_up_and_a_newer_version_replaces_its_own() -> None:
    store = ParameterStore(VideoCodec.H264)
    store.update([h264_sps(), pps(0, 1)])
    store.update([pps(1, 1)])
    store.update([pps(0, 2)])
    found = store.take_change()
    assert found is not None
    assert sorted(h264.parameter_sets(found.codec_private)[1:]) == sorted([pps(0, 2), pps(1, 1)])


def test_a_damaged_set_is_passed_over_until_a_good_one_comes() -> None:
    store = ParameterStore(VideoCodec.H264)
    store.update([b"\x67\x64\x00\x1f", H264_PPS])
    assert store.take_change() is None
    store.update([h264_sps(), H264_PPS])
    assert store.take_change() is not None


@settings(max_examples=50)
@given(st.sampled_from(VideoCodec), st.lists(st.lists(st.binary(min_size=1, max_size=12), max_size=4), max_size=8))
def test_garbage_never_raises(codec: VideoCodec, updates: list[list[bytes]]) -> None:
    store = ParameterStore(codec)
    for nals in updates:
        store.update(nals)
        store.take_change()
