"""The RTSP server of many cameras dies and comes back; the cameras of another server must not notice."""

import random
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.cameras import CARS, Simulator, asset
from tests.support.faults import FULL, assert_whole, figure, now_us, open_files, rss_mb, spread
from tests.support.frames import breaks, demuxed_digests, recorded_frames
from tests.support.product import Product, wait_for

_DYING = 20
_STANDING = 4
_ROUNDS = 10 if FULL else 2
_BACK_S = 5.0
_RING_MB = 2.0  # per camera: the clip's 94 kB/s, for the ring's 8 s and a GOP of 5 s, and what an allocator adds


@pytest.mark.timeout(600)
def test_cameras_record_again_within_5_s_of_their_server_and_other_cameras_lose_nothing(tmp_path: Path) -> None:
    clip = asset(CARS)
    rng = random.Random(6)
    online_s: list[float] = []
    back_us: list[int] = []
    with (
        Simulator(clip, cameras=_DYING) as dying,
        Simulator(clip, cameras=_STANDING) as standing,
        Product(tmp_path) as product,
    ):
        affected = _add(product, dying, _DYING)
        others = _add(product, standing, _STANDING)
        wait_for(lambda: _all_are(_statuses(product, affected + others), "online"), 30, "all cameras are online")
        ingest = product.pids()["ingest"]
        before = rss_mb(ingest), open_files(ingest)
        for number in range(1, _ROUNDS + 1):
            dying.kill()
            wait_for(lambda: _all_are(_statuses(product, affected), "offline"), 10, "all its cameras are offline")
            _assert_down(_statuses(product, affected), number - 1)
            time.sleep(rng.uniform(0, 6 if FULL else 3))  # how long it stays away
            dying.start()
            back_us.append(now_us())
            online_s += _wait_online(product, affected)
            wait_for(partial(_counted, product, affected, number), 15, "reconnects are counted")
            _assert_untouched(_statuses(product, others))
        after = rss_mb(ingest), open_files(ingest)
    figure(f"{_ROUNDS} times, {_DYING} cameras: online and recording in the API {spread(online_s)} after it was back")
    figure(f"ingest {before[0]:.1f} MB, {before[1]} files before; {after[0]:.1f} MB, {after[1]} files after")
    source = demuxed_digests(clip)
    resumed_s = [value for camera_id in affected for value in _resumed_s(product, camera_id, source, back_us)]
    figure(f"first frame on disk taken {spread(resumed_s)} after it was back (less than 0: with its very first one)")
    for camera_id in others:
        frames = recorded_frames(product.media_files(camera_id))
        assert breaks(frames, source) == [], camera_id
        figure(f"{camera_id} of the other server: {len(frames)} frames, no break")
    figure(f"{assert_whole(product, affected + others)} files whole")
    assert max(online_s) <= _BACK_S
    assert max(resumed_s) <= _BACK_S
    assert after[1] <= before[1] + 2
    assert after[0] <= before[0] + (_DYING + _STANDING) * _RING_MB


def _add(product: Product, server: Simulator, count: int) -> list[str]:
    return [
        product.add_camera(server.url(number), f"Camera {number}", container="mkv" if number % 2 else "mp4")
        for number in range(count)
    ]


def _statuses(product: Product, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    items = product.api("GET", "/api/v1/cameras?limit=500")["items"]
    found = {str(item["id"]): dict(item["status"]) for item in items}
    return {camera_id: found[camera_id] for camera_id in ids}


def _all_are(statuses: dict[str, dict[str, Any]], state: str) -> bool:
    return all(status["state"] == state and (state != "online" or status["recording"]) for status in statuses.values())


def _assert_down(statuses: dict[str, dict[str, Any]], reconnects: int) -> None:
    for status in statuses.values():
        assert status["last_error"]
        assert not status["recording"]
        assert status["reconnects_total"] == reconnects


def _wait_online(product: Product, ids: Sequence[str]) -> list[float]:
    """Seconds until the API says of each camera that it is online and recorded."""
    began = time.monotonic()
    took: dict[str, float] = {}

    def all_online() -> bool:
        for camera_id, status in _statuses(product, ids).items():
            if status["state"] == "online" and status["recording"]:
                took.setdefault(camera_id, time.monotonic() - began)
        return len(took) == len(ids)

    wait_for(all_online, 30, "all cameras are online again")
    return list(took.values())


def _counted(product: Product, ids: Sequence[str], reconnects: int) -> bool:
    return all(status["reconnects_total"] == reconnects for status in _statuses(product, ids).values())


def _assert_untouched(statuses: dict[str, dict[str, Any]]) -> None:
    for camera_id, status in statuses.items():
        assert (status["state"], status["reconnects_total"], status["lost_packets_total"]) == ("online", 0, 0), (
            camera_id
        )


def _resumed_s(product: Product, camera_id: str, source: list[bytes], back_us: list[int]) -> list[float]:
    """For each return of the server, how much later the first frame was taken that is on disk."""
    frames = recorded_frames(product.media_files(camera_id))
    starts = [frames[number].capture_us for number in breaks(frames, source)]
    assert len(starts) == len(back_us), f"{camera_id} has {len(starts)} interruptions"
    return [(start - back) / 1e6 for start, back in zip(starts, back_us, strict=True)]
