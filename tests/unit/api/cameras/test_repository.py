import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.support.database import migrated_database

from vms.api.cameras.repository import CameraRepository
from vms.common.camera import CameraConfig
from vms.common.errors import ErrorKind, VmsError
from vms.common.types import CameraId


def config(**changes: object) -> CameraConfig:
    values: dict[str, object] = {
        "id": "cam_a",
        "name": "A",
        "url": "rtsp://h/1",
        "username": "u",
        "password": SecretStr("pässword"),
        "a_newer_option": {"x": [1, None]},
    }
    return CameraConfig.model_validate(values | changes)


async def test_a_configuration_comes_back_as_it_was_unknown_settings_included(tmp_path: Path) -> None:
    async with migrated_database(tmp_path) as sessions:
        repository = CameraRepository(sessions)
        await repository.add(config(), 5)
        stored = await repository.get(CameraId("cam_a"))
        assert stored.config == config()
        assert (stored.created_us, stored.updated_us) == (5, 5)
        assert await repository.configs() == [config()]


async def test_changes_made_at_once_are_all_kept(tmp_path: Path) -> None:
    async with migrated_database(tmp_path) as sessions:
        repository = CameraRepository(sessions)
        await repository.add(config(retention_days=1), 0)

        def one_more(old: CameraConfig) -> CameraConfig:
            return old.model_copy(update={"retention_days": old.retention_days + 1})

        await asyncio.gather(*(repository.update(CameraId("cam_a"), one_more, 1) for _ in range(8)))
        assert (await repository.get(CameraId("cam_a"))).config.retention_days == 9


async def test_an_unknown_camera_is_not_found_whatever_is_asked_of_it(tmp_path: Path) -> None:
    async with migrated_database(tmp_path) as sessions:
        repository = CameraRepository(sessions)
        nobody = CameraId("cam_x")
        for ask in (repository.get(nobody), repository.update(nobody, lambda old: old, 0), repository.remove(nobody)):
            with pytest.raises(VmsError) as caught:
                await ask
            assert caught.value.kind is ErrorKind.NOT_FOUND
        assert await repository.config(nobody) is None
