import os
from pathlib import Path

import pytest
from tests.support.storage import facts

from vms.common.errors import ErrorKind, VmsError
from vms.common.volumes import VolumeSettings
from vms.storage.volumes import Volumes


def test_an_empty_mount_point_is_not_a_volume(tmp_path: Path) -> None:
    volumes = Volumes([VolumeSettings(name="main", path=tmp_path, min_free_bytes=7)])
    assert not volumes.is_mounted("main")
    assert volumes.state("main") is None
    (tmp_path / "cameras").mkdir()
    assert volumes.is_mounted("main")
    state = volumes.state("main")
    assert state is not None
    assert state.min_free_bytes == 7


def test_free_space_is_what_an_ordinary_process_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cameras").mkdir()
    blocks = os.statvfs_result((4096, 1024, 1000, 100, 50, 0, 0, 0, 0, 255))  # 100 free, 50 of them available
    monkeypatch.setattr(os, "statvfs", lambda _path: blocks)
    state = Volumes([VolumeSettings(name="main", path=tmp_path)]).state("main")
    assert state is not None
    assert state.free_bytes == 50 * 1024


def test_a_volume_of_another_host_is_not_found(tmp_path: Path) -> None:
    volumes = Volumes([VolumeSettings(name="main", path=tmp_path)])
    with pytest.raises(VmsError) as caught:
        volumes.media_path(facts(volume="remote"))
    assert caught.value.kind is ErrorKind.NOT_FOUND
    assert volumes.media_path(facts()) == tmp_path / facts().path
