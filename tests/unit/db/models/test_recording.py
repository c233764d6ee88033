from pathlib import Path

import pytest
from tests.support.database import migrated_database

from vms.common.errors import ErrorKind, VmsError
from vms.db.engine import SessionFactory, writing
from vms.db.models import Gap, Segment


def segment(**changes: object) -> Segment:
    values: dict[str, object] = {
        "id": "rec_a",
        "camera_id": "cam_a",
        "volume": "main",
        "path": "cameras/cam_a/2026-03-01/video_10.mp4",
        "container": "mp4",
        "codec": "h264",
        "codec_string": "avc1.640028",
        "width": 1920,
        "height": 1080,
        "start_us": 1,
        "end_us": 2,
        "bytes": 3,
        "frames": 4,
        "fragments": 1,
        "state": "open",
        "created_us": 5,
    }
    return Segment(**values | changes)


async def add(sessions: SessionFactory, row: Segment | Gap) -> None:
    async with writing(sessions) as session:
        session.add(row)


async def test_a_path_is_unique_on_its_volume_only(tmp_path: Path) -> None:
    async with migrated_database(tmp_path) as sessions:
        await add(sessions, segment())
        await add(sessions, segment(id="rec_b", volume="other"))
        with pytest.raises(VmsError) as caught:
            await add(sessions, segment(id="rec_c"))
    assert caught.value.kind is ErrorKind.CONFLICT


async def test_a_segment_is_open_or_closed_and_nothing_else(tmp_path: Path) -> None:
    async with migrated_database(tmp_path) as sessions:
        with pytest.raises(VmsError):
            await add(sessions, segment(state="half"))


async def test_a_gap_is_recorded_once_per_start_and_cause(tmp_path: Path) -> None:
    async with migrated_database(tmp_path) as sessions:
        for cause in ("network", "auth"):
            await add(sessions, Gap(camera_id="cam_a", start_us=1, end_us=2, cause=cause, detail=""))
        with pytest.raises(VmsError):
            await add(sessions, Gap(camera_id="cam_a", start_us=1, end_us=3, cause="auth", detail=""))
