"""``kill -9`` of the recorder, and of everything: what is lost, and that nothing else is."""

import os
import random
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.support.cameras import Simulator
from tests.support.faults import FULL, assert_whole, camera_clip, figure, now_us, spread
from tests.support.frames import breaks, demuxed_digests, last_end_us, recorded_frames
from tests.support.product import Product, wait_for

_CAMERAS = 10
_KILLS = 30 if FULL else 3
_FRAME_S = 0.04
_DEAD_S = 0.2  # the files are read before the next ingest can have begun to write


@dataclass
class Kill:
    """One kill: when, up to where each camera was on disk then, and when all of them recorded again."""

    at_us: int
    recorded_until_us: dict[str, int]
    resumed_s: float = 0.0


@pytest.mark.timeout(900)
def test_kill_9_of_ingest_loses_less_than_a_second_and_leaves_whole_files(tmp_path: Path) -> None:
    clip = camera_clip(tmp_path)
    rng = random.Random(4)
    with Simulator(clip, cameras=_CAMERAS) as cameras, Product(tmp_path) as product:
        ids = _add_cameras(product, cameras, _CAMERAS)
        kills = [_kill_ingest(product, ids, rng) for _ in range(_KILLS)]
    lost_s = [(kill.at_us - until) / 1e6 for kill in kills for until in kill.recorded_until_us.values()]
    figure(f"{_KILLS} kills, {_CAMERAS} cameras of 25 fps")
    figure(f"not on disk at the kill: {spread(lost_s)}")
    figure(f"since the last frame on disk was taken: {spread([lost + _FRAME_S for lost in lost_s])}")
    figure(f"kill until all cameras have a new fragment on disk: {spread([kill.resumed_s for kill in kills])}")
    missing_s = _assert_frames_are_the_cameras(product, ids, clip)
    figure(f"recording interrupted, by capture time: {spread(missing_s)}")
    figure(f"{assert_whole(product, ids)} files whole")
    assert max(lost_s) <= 1.0


def _add_cameras(product: Product, cameras: Simulator, count: int) -> list[str]:
    ids = [
        product.add_camera(cameras.url(number), f"Camera {number}", container="mkv" if number % 2 else "mp4")
        for number in range(count)
    ]
    for camera_id in ids:
        product.wait_state(camera_id, "online")
    return ids


def _kill_ingest(product: Product, ids: list[str], rng: random.Random) -> Kill:
    """Kill ingest some time after all cameras recorded, and wait until all do again."""
    time.sleep(rng.uniform(0, 3))  # the random moment
    pid = product.pids()["ingest"]
    kill = Kill(now_us(), {})
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    wait_for(partial(_has_ended, pid), 5, "ingest ends")
    kill.recorded_until_us = {camera_id: _recorded_until_us(product, camera_id) for camera_id in ids}
    assert time.monotonic() - began < _DEAD_S, "the machine is too busy to see the files as the kill left them"
    wait_for(partial(_all_record_again, product, kill), 30, "all cameras record again")
    kill.resumed_s = time.monotonic() - began
    return kill


def _all_record_again(product: Product, kill: Kill) -> bool:
    """Whether each camera has a fragment on disk that was taken after the kill."""
    return all(
        _recorded_until_us(product, camera_id) > max(before_us, kill.at_us)
        for camera_id, before_us in kill.recorded_until_us.items()
    )


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _recorded_until_us(product: Product, camera_id: str) -> int:
    return last_end_us(product.media_files(camera_id)[-1])


def _assert_frames_are_the_cameras(product: Product, ids: list[str], clip: Path) -> list[float]:
    """Every break in the frames is a restart, begins with a keyframe and says so; returns the time they cost."""
    source = demuxed_digests(clip)
    missing_s = []
    for camera_id in ids:
        frames = recorded_frames(product.media_files(camera_id))
        for number in breaks(frames, source):
            frame, before = frames[number], frames[number - 1]
            assert frame.is_keyframe
            assert frame.is_discontinuity or frame.path != before.path
            missing_s.append((frame.capture_us - before.capture_us) / 1e6 - _FRAME_S)
        assert len(missing_s) <= _KILLS * len(ids)
    return missing_s
