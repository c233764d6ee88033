from pathlib import Path

import pytest
from tests.support.recordings import CAMERA, START_US, fragment
from tests.support.storage import DAY_US, StorageApp, storage_app

from vms.bus.kv import KvChange, KvOperation
from vms.common.camera import CameraConfig
from vms.common.types import CameraId
from vms.proto.convert import encode
from vms.proto.messages import GapCause
from vms.storage.retention import VolumeState
from vms.storage.segments import Span

ALWAYS = Span(0, 1 << 60)
OTHER = CameraId("cam_other")


def configure(app: StorageApp, camera_id: CameraId, days: float) -> None:
    config = CameraConfig(id=camera_id, name="A", url="rtsp://h/1", retention_days=days)
    app.storage.policies.update(KvChange(KvOperation.PUT, camera_id, encode(config)))


def media_names(app: StorageApp) -> list[str]:
    return sorted(path.name for path in app.root.glob("cameras/*/*/video*"))


async def test_old_recordings_go_file_first_and_leave_a_retention_gap(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        await app.record([fragment(0)])
        await app.record([fragment(0)], camera_id=OTHER)
        configure(app, CAMERA, 1)
        configure(app, OTHER, 3)
        app.storage.policies.update(KvChange(KvOperation.SNAPSHOT_END))
        app.clock.advance(2 * DAY_US / 1e6)
        assert await app.storage.keeper.delete_old() == 1
        assert not (app.root / "cameras" / CAMERA / "2026-03-01").exists()
        assert (app.root / "cameras" / OTHER / "2026-03-01" / "video_10.mp4").exists()
        assert await app.storage.repository.overlapping(CAMERA, ALWAYS) == []
        [gap] = await app.storage.repository.gaps(CAMERA, ALWAYS)
        assert (gap.cause, gap.start_us, gap.end_us) == (GapCause.RETENTION, START_US, START_US + 1_000_000)
        assert app.storage.keeper.deleted_total == {"age": 1, "free_space": 0}


async def test_nothing_goes_by_age_before_the_whole_configuration_was_seen(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        await app.record([fragment(0)])
        configure(app, CAMERA, 1)
        app.clock.advance(400 * DAY_US / 1e6)
        assert await app.storage.keeper.delete_old() == 0
        assert media_names(app) == ["video_10.mp4"]


async def test_a_row_whose_file_is_gone_already_goes_too(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        await app.record([fragment(0)])
        next(app.root.glob("cameras/*/*/video*")).unlink()
        app.storage.policies.update(KvChange(KvOperation.SNAPSHOT_END))
        app.clock.advance(40 * DAY_US / 1e6)
        assert await app.storage.keeper.delete_old() == 1
        assert await app.storage.repository.overlapping(CAMERA, ALWAYS) == []


async def test_a_file_that_cannot_be_deleted_keeps_its_row_and_the_others_still_go(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        await app.record([fragment(0)])
        await app.record([fragment(7200)])
        first = next(app.root.glob("cameras/*/*/video_10.mp4"))
        first.unlink()
        (first / "in the way").mkdir(parents=True)
        app.storage.policies.update(KvChange(KvOperation.SNAPSHOT_END))
        app.clock.advance(40 * DAY_US / 1e6)
        assert await app.storage.keeper.delete_old() == 1
        assert [row.start_us for row in await app.storage.repository.overlapping(CAMERA, ALWAYS)] == [START_US]
        assert app.storage.keeper.failed_total >= 1


async def test_a_full_volume_loses_its_oldest_closed_recordings_until_the_floor_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with storage_app(tmp_path) as app:
        for number, camera in ((0, CAMERA), (7200, OTHER), (14400, CAMERA)):
            await app.record([fragment(number)], camera_id=camera)
        await app.record([fragment(21600)], camera_id=OTHER, close=False)

        def state(_volumes: object, _name: str) -> VolumeState:
            return VolumeState(free_bytes=0, min_free_bytes=len(media_names(app)) // 3)  # enough once two are left

        monkeypatch.setattr(type(app.storage.volumes), "state", state)
        assert await app.storage.keeper.free_space() == 2
        assert media_names(app) == ["video_14.mp4", "video_16.mp4"]
        assert app.storage.keeper.deleted_total["free_space"] == 2


async def test_a_full_volume_with_nothing_to_delete_does_not_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with storage_app(tmp_path) as app:
        await app.record([fragment(0)], close=False)
        monkeypatch.setattr(type(app.storage.volumes), "state", lambda *_: VolumeState(0, 1 << 50))
        assert await app.storage.keeper.free_space() == 0
        assert media_names(app) == ["video_10.mp4"]
