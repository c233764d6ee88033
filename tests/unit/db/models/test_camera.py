from pathlib import Path

from tests.support.database import migrated_database

from vms.db.engine import reading, writing
from vms.db.models import Camera


async def test_settings_of_a_newer_version_come_back_as_they_were(tmp_path: Path) -> None:
    settings: dict[str, object] = {"record": True, "retention_days": 7.5, "a_newer_option": {"x": [1]}}
    async with migrated_database(tmp_path) as sessions:
        async with writing(sessions) as session:
            session.add(
                Camera(
                    id="cam_a",
                    name="Ä",
                    url="rtsp://h/1",
                    username="",
                    password="",
                    settings=settings,
                    created_us=2**53,
                    updated_us=1,
                )
            )
        async with reading(sessions) as session:
            camera = await session.get_one(Camera, "cam_a")
    assert camera.settings == settings
    assert (camera.name, camera.created_us) == ("Ä", 2**53)
