"""The stamp survives real encoding, and nothing else is taken for one."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vms.common.stream import VideoCodec
from vms.common.types import FrameRate
from vms.media.codec import Decoder, Encoder, EncoderSettings
from vms.media.extradata import parameters_of
from vms.media.nal import split_lengths
from vms.media.pattern import Scene
from vms.media.pattern_stamp import Stamp, read_stamp, stamp_grid, stamp_rows


def _plane(stamp: Stamp, width: int, stride: int) -> bytes:
    grid = stamp_grid(width)
    return b"".join(row.ljust(stride, b"\x80") * grid.block for row in stamp_rows(stamp, grid))


@given(st.integers(1, 2**63), st.integers(0, 2**20), st.integers(160, 2000), st.integers(0, 64))
@settings(max_examples=60, deadline=None)
def test_a_drawn_stamp_is_read_at_any_width_and_stride(capture: int, number: int, width: int, padding: int) -> None:
    luma = _plane(Stamp(capture, number), width, width + padding)
    height = stamp_grid(width).height
    assert read_stamp(luma, width, height, width + padding) == Stamp(capture, number % 65536)


@given(st.integers(0, 95))
@settings(max_examples=96, deadline=None)
def test_one_wrong_block_is_noticed(bit: int) -> None:
    width = 1280
    luma = bytearray(_plane(Stamp(1_700_000_000_123_456, 77), width, width))
    row, column = divmod(bit, stamp_grid(width).columns)
    for y in range(row * 16, row * 16 + 16):
        start = y * width + column * 16
        luma[start : start + 16] = bytes(251 - value for value in luma[start : start + 16])
    assert read_stamp(luma, width, 32, width) is None


def test_black_white_noisy_and_cut_pictures_have_no_stamp() -> None:
    width, height = 320, 180
    noise = random.Random(3).randbytes(width * height)
    for luma in (bytes(width * height), b"\xeb" * width * height, noise, b"\x10" * width * height):
        assert read_stamp(luma, width, height, width) is None
    good = _plane(Stamp(5, 5), width, width)
    assert read_stamp(good, width, stamp_grid(width).height, width) == Stamp(5, 5)
    assert read_stamp(good[:-width], width, stamp_grid(width).height, width) is None
    assert read_stamp(good, width, 8, width) is None
    assert read_stamp(good, 100, 100, 100) is None


@pytest.mark.parametrize(
    ("width", "height", "bitrate"), [(1280, 720, 150_000), (640, 360, 80_000), (320, 240, 40_000), (642, 362, 100_000)]
)
def test_every_stamp_survives_x264_at_a_very_low_bit_rate(width: int, height: int, bitrate: int) -> None:
    encoder = Encoder(EncoderSettings(width, height, FrameRate(25), bitrate, gop=25))
    scene = Scene(width, height, noise=0.02)
    decoder: Decoder | None = None
    expected, seen, size = [], [], 0
    for number in range(40):
        capture = 1_767_225_600_000_000 + number * 40_001
        picture = scene.draw(number, capture)
        expected.append(Stamp(capture, number))
        for coded in encoder.encode(picture.y, picture.u, picture.v, number):
            size += len(coded.payload)
            if decoder is None:
                decoder = Decoder(parameters_of(VideoCodec.H264, list(split_lengths(coded.payload))))
            seen += decoder.decode(coded.payload, coded.pts)
    assert decoder is not None
    seen += decoder.flush()
    assert [read_stamp(p.luma, p.width, p.height, p.stride) for p in seen] == expected
    assert size * 8 * 25 / 40 < 5 * bitrate  # it really was that little
