from pathlib import Path

import pytest

from vms.common.errors import VmsError
from vms.common.settings import Sources
from vms.common.volumes import VolumeSettings, configured_volumes, default_volumes


def sources(volumes: object) -> Sources:
    return Sources(values={"storage": {"volumes": volumes, "port": 1}}, origin="vms.yaml", data_dir=Path("/data"))


def test_without_any_the_data_directory_is_the_volume_main() -> None:
    assert default_volumes(Path("/data")) == (VolumeSettings(name="main", path=Path("/data")),)
    for settings in (Sources(values={}, data_dir=Path("/data")), sources(None), sources([])):
        assert configured_volumes(settings) == default_volumes(Path("/data"))


def test_configured_volumes_come_in_their_order() -> None:
    volumes = configured_volumes(sources([{"name": "b", "path": "/b"}, {"name": "a", "path": "/a"}]))
    assert [(volume.name, volume.path) for volume in volumes] == [("b", Path("/b")), ("a", Path("/a"))]


@pytest.mark.parametrize(
    ("volumes", "words"),
    [
        ([{"name": "../x", "path": "/b"}], r"storage\.volumes\.0\.name"),
        ([{"name": "a"}], r"storage\.volumes\.0\.path"),
        ([{"name": "a", "path": "/a", "min_free_bytes": -1}], r"storage\.volumes\.0\.min_free_bytes"),
        ([{"name": "a", "path": "/a", "size": 1}], r"unknown key 'storage\.volumes\.0\.size'"),
        ("/srv", r"storage\.volumes"),
        ([{"name": "a", "path": "/a"}, {"name": "a", "path": "/b"}], "name and a path of its own"),
        ([{"name": "a", "path": "/a"}, {"name": "b", "path": "/a"}], "name and a path of its own"),
    ],
)
def test_a_volume_that_could_lose_recordings_is_refused_by_its_key(volumes: object, words: str) -> None:
    with pytest.raises(VmsError, match=words) as caught:
        configured_volumes(sources(volumes))
    assert caught.value.message.startswith("vms.yaml: ")
