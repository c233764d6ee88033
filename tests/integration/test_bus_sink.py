"""Fragments over the bus: a camera with ``sink: bus`` is written by the storage service, which may die at any time."""

from pathlib import Path

from tests.support.cameras import BOTTLES, Simulator, asset
from tests.support.frames import assert_plays, assert_rebuilt_index_is_equal, breaks, demuxed_digests, recorded_frames
from tests.support.product import Product, wait_for

_FPS = 179 / 6


def test_storage_killed_in_between_writes_every_frame_of_the_camera_once(tmp_path: Path) -> None:
    clip = asset(BOTTLES)  # with B-frames, and a keyframe only every eight seconds
    settings = {"VMS_STORAGE__ROTATION_S": 5}
    with Simulator(clip, cameras=2) as simulator, Product(tmp_path, settings=settings) as product:
        cameras = [
            product.add_camera(simulator.url(number), container, container=container, sink="bus")
            for number, container in enumerate(("mp4", "mkv"))
        ]
        for frames in (100, 200):
            product.wait_frames(cameras[0], frames)
            product.wait_replaced("storage", product.kill("storage"))
        product.wait_frames(cameras[0], 200 + int(8 * _FPS))
        # A name is no reason to begin anew: the frames go on without a seam.
        product.api("PATCH", f"/api/v1/cameras/{cameras[0]}", {"name": "renamed"})
        product.wait_frames(cameras[0], 300 + int(8 * _FPS))

        seen = {}
        for camera_id in cameras:
            seen[camera_id] = product.status(camera_id)["frames_total"]
            product.api("PATCH", f"/api/v1/cameras/{camera_id}", {"enabled": False})
        for camera_id in cameras:

            def has_arrived(camera_id: str = camera_id) -> bool:
                return bool(sum(row["frames"] for row in product.recordings(camera_id)) >= seen[camera_id])

            wait_for(has_arrived, 30, "the bus is drained")
        product.stop()

        source = demuxed_digests(clip)
        for camera_id in cameras:
            files = product.media_files(camera_id)
            found = recorded_frames(files)
            assert len(files) > 1
            assert len(found) >= seen[camera_id]
            assert breaks(found, source) == []
            for path in files:
                assert_plays(path)
                assert_rebuilt_index_is_equal(path)
        done = product.cli("storage", "check")
        assert done.returncode == 0, done.stdout
