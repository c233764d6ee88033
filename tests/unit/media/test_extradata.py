"""Codec headers in the forms that files have."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec
from vms.media import h264
from vms.media.extradata import header_nals, length_size, parameters_of, with_four_byte_lengths
from vms.media.nal import join_annex_b, join_lengths

_SPS = bytes.fromhex("6742c028da01e0089f961000000300100000030328f1832a")
_PPS = bytes.fromhex("68ce3c80")


def test_a_record_and_a_byte_stream_give_the_same_parameter_sets() -> None:
    record = h264.avcc([_SPS], [_PPS])
    assert header_nals(VideoCodec.H264, record) == [_SPS, _PPS]
    assert header_nals(VideoCodec.H264, join_annex_b([_SPS, _PPS])) == [_SPS, _PPS]
    assert header_nals(VideoCodec.H264, b"") == []


def test_the_length_size_is_read_from_the_record_and_zero_means_start_codes() -> None:
    record = bytearray(h264.avcc([_SPS], [_PPS]))
    assert length_size(VideoCodec.H264, bytes(record)) == 4
    record[4] = 0xFD
    assert length_size(VideoCodec.H264, bytes(record)) == 2
    assert length_size(VideoCodec.H265, b"\x01" + bytes(20) + b"\xff" + bytes(3)) == 4
    assert length_size(VideoCodec.H264, join_annex_b([_SPS])) == 0
    assert length_size(VideoCodec.H264, b"") == 0


@given(st.lists(st.binary(min_size=1, max_size=200).map(lambda b: b"\x65" + b + b"\x80"), max_size=5))
@settings(max_examples=60)
def test_any_length_size_becomes_four_bytes(nals: list[bytes]) -> None:
    for size in (1, 2, 3, 4):
        data = b"".join(len(nal).to_bytes(size, "big") + nal for nal in nals)
        assert with_four_byte_lengths(data, size) == join_lengths(nals)


def test_start_codes_become_four_byte_lengths() -> None:
    assert with_four_byte_lengths(join_annex_b([_SPS, _PPS]), 0) == join_lengths([_SPS, _PPS])


def test_parameters_are_found_among_other_nal_units() -> None:
    parameters = parameters_of(VideoCodec.H264, [b"\x06sei", _SPS, _PPS, b"\x65idr"])
    assert (parameters.width, parameters.height, parameters.frame_rate) == (1920, 1080, 25.0)


@pytest.mark.parametrize("codec", list(VideoCodec))
def test_missing_parameter_sets_are_unsupported(codec: VideoCodec) -> None:
    with pytest.raises(VmsError, match="parameter set") as caught:
        parameters_of(codec, [])
    assert caught.value.kind is ErrorKind.UNSUPPORTED
