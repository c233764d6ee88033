"""Clips in memory: the timing of the loop."""

import random
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec, VideoParameters
from vms.media import clip as clip_module
from vms.media.clip import clip_of, load_clip
from vms.media.codec import CodedPicture
from vms.media.pattern_clip import make_test_clip

_PARAMETERS = VideoParameters(VideoCodec.H264, 320, 240, b"", "avc1.42C01E")
_ASSETS = Path(__file__).parents[4] / "shared" / "assets" / "video"


def _picture(pts: int, duration: int = 0, *, keyframe: bool = False) -> CodedPicture:
    return CodedPicture(pts, duration, keyframe, b"\0\0\0\1x")


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.randoms(use_true_random=False), st.integers(-100, 100))
@settings(max_examples=100)
def test_decoding_times_are_derived_for_any_order(steps: list[int], shuffler: random.Random, start: int) -> None:
    pts, times = start, []
    for step in steps:
        times.append(pts)
        pts += step
    decoding = times.copy()
    shuffler.shuffle(decoding)
    clip = clip_of(_PARAMETERS, Fraction(1, 1000), [_picture(t, steps[times.index(t)]) for t in decoding])
    decode_times = [frame.dts for frame in clip.frames]
    assert decode_times[0] == 0
    assert decode_times == sorted(decode_times)
    assert all(frame.pts >= frame.dts for frame in clip.frames)
    assert any(frame.pts == frame.dts for frame in clip.frames)
    assert [frame.pts - clip.frames[0].pts for frame in clip.frames] == [t - decoding[0] for t in decoding]
    assert clip.duration == sum(steps)


def test_two_rounds_of_the_loop_have_one_even_rhythm() -> None:
    order = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]
    clip = clip_of(_PARAMETERS, Fraction(1, 25), [_picture(pts, 1) for pts in order])
    output = sorted(loop * clip.duration + frame.pts for loop in range(2) for frame in clip.frames)
    assert {b - a for a, b in pairwise(output)} == {1}
    decode = [loop * clip.duration + frame.dts for loop in range(2) for frame in clip.frames]
    assert decode == list(range(20))
    assert clip.reorder_ticks == 3


def test_an_unstated_last_duration_is_the_usual_step() -> None:
    clip = clip_of(_PARAMETERS, Fraction(1, 90_000), [_picture(pts) for pts in (0, 3600, 7200, 18_000)])
    assert clip.duration == 18_000 + 3600
    assert clip_of(_PARAMETERS, Fraction(1, 25), [_picture(7)]).duration == 1


def test_a_written_clip_loads_with_exact_timing(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_test_clip(path, width=320, height=240, fps=30, seconds=1, bitrate_bps=200_000, gop=15)
    clip = load_clip(path)
    assert len(clip.frames) == 30
    assert clip.duration * clip.time_base == 1
    assert [n for n, frame in enumerate(clip.frames) if frame.keyframe] == [0, 15]
    assert clip.reorder_ticks == 0


def test_files_that_are_too_large_are_refused_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.mp4"
    make_test_clip(path, width=320, height=240, seconds=1, bitrate_bps=400_000)
    monkeypatch.setattr(clip_module, "MAX_CLIP_BYTES", 10_000)
    with pytest.raises(VmsError, match="cut it") as caught:
        load_clip(path)
    assert caught.value.kind is ErrorKind.INVALID


@pytest.mark.skipif(not _ASSETS.exists(), reason="../shared/assets is not there")
def test_a_real_clip_with_b_frames_keeps_decoding_order() -> None:
    clip = load_clip(_ASSETS / "bottle-detection.mp4")
    assert len(clip.frames) == 1189
    assert clip.frames[0].keyframe
    assert clip.reorder_ticks * clip.time_base * 179 / 6 == 5
    assert len({frame.pts for frame in clip.frames}) == 1189
    assert clip.duration * clip.time_base == pytest.approx(1189 * 6 / 179)
