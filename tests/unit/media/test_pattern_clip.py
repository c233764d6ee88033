"""Test clips of a given bit rate."""

from pathlib import Path

import pytest

from vms.common.errors import ErrorKind, VmsError
from vms.media.clip import load_clip
from vms.media.pattern_clip import make_test_clip


@pytest.mark.parametrize("bitrate", [500_000, 2_000_000])
def test_the_bit_rate_is_hit_within_three_percent(tmp_path: Path, bitrate: int) -> None:
    path = tmp_path / "clip.mp4"
    reached = make_test_clip(path, width=640, height=360, fps=25, seconds=2, bitrate_bps=bitrate, gop=25)
    clip = load_clip(path)
    size = sum(len(frame.payload) for frame in clip.frames)
    assert abs(reached - bitrate) <= 0.03 * bitrate
    assert size * 8 / 2 == pytest.approx(reached, rel=0.001)
    assert (clip.parameters.width, clip.parameters.height, len(clip.frames)) == (640, 360, 50)
    assert [n for n, frame in enumerate(clip.frames) if frame.keyframe] == [0, 25]


def test_only_the_clip_is_left_in_the_folder(tmp_path: Path) -> None:
    make_test_clip(tmp_path / "clip.mp4", width=160, height=120, seconds=0.2, bitrate_bps=50_000)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("changed", [{"seconds": 0}, {"gop": 0}, {"bitrate_bps": 5}, {"width": 3}])
def test_impossible_clips_are_invalid_and_leave_nothing(tmp_path: Path, changed: dict[str, int]) -> None:
    with pytest.raises(VmsError) as caught:
        make_test_clip(tmp_path / "clip.mp4", **changed)
    assert caught.value.kind is ErrorKind.INVALID
    assert list(tmp_path.iterdir()) == []
