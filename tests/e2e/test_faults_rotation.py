"""Rotation: the frames of all files together are the camera's frames, each exactly once."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.cameras import BOTTLES, CARS, PETS, Simulator, asset, h265_clip
from tests.support.faults import FULL, assert_whole, figure, now_us
from tests.support.frames import breaks, demuxed_digests, recorded_frames
from tests.support.product import Product, wait_for

_ROTATION_S = 20 if FULL else 5
_SECONDS = 300 if FULL else 25


@pytest.mark.timeout(600)
def test_the_frames_of_all_files_together_are_the_cameras_frames_each_once(tmp_path: Path) -> None:
    # GOPs of 2 to 8 s, the latter longer than a file of the short test; with and without B-frames; both codecs.
    clips = [asset(CARS), asset(BOTTLES), asset(PETS), h265_clip(tmp_path)]
    cameras: dict[str, Path] = {}
    with ExitStack() as servers, Product(tmp_path, settings={"VMS_INGEST__ROTATION_S": _ROTATION_S}) as product:
        for clip in clips:
            server = servers.enter_context(Simulator(clip, cameras=2))
            for number, container in enumerate(("mp4", "mkv")):
                name = f"{clip.stem} {container}"
                cameras[product.add_camera(server.url(number), name, container=container)] = clip
        for camera_id in cameras:
            product.wait_state(camera_id, "online")
        began_us = now_us()
        wait_for(lambda: now_us() - began_us > _SECONDS * 1_000_000, _SECONDS + 5, "the time is over")
        statuses = {camera_id: product.status(camera_id) for camera_id in cameras}
        until_us = now_us()
    for camera_id, clip in cameras.items():
        files = product.media_files(camera_id)
        frames = recorded_frames(files)
        source = demuxed_digests(clip)
        assert breaks(frames, source) == [], f"{clip.name}, {files[0].suffix}"
        assert not any(frame.is_discontinuity for frame in frames[1:])
        assert len(frames) >= statuses[camera_id]["frames_total"]
        assert frames[-1].capture_us > until_us - 700_000, "the last frames before the end are there"
        figure(f"{clip.name} as {files[0].suffix}: {len(frames)} frames in {len(files)} files, each once")
        _assert_files_follow_the_clock(files)
    figure(f"{assert_whole(product, list(cameras))} files whole")


def _assert_files_follow_the_clock(files: list[Path]) -> None:
    """Every file begins with a keyframe in a period of its own, and goes on to the first keyframe of a later one."""
    period_us = _ROTATION_S * 1_000_000
    last_period = -1
    for path in files:
        frames = recorded_frames([path])
        keyframes_us = [frame.capture_us for frame in frames if frame.is_keyframe]
        assert frames[0].is_keyframe
        assert keyframes_us[0] // period_us > last_period
        last_period = keyframes_us[0] // period_us
        assert keyframes_us[-1] // period_us == last_period
