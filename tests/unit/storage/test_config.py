import pytest
from pydantic import ValidationError

from vms.storage.config import StorageSettings


def test_by_default_only_this_machine_reaches_recordings_and_they_stay_thirty_days() -> None:
    settings = StorageSettings()
    assert (settings.host, settings.port, settings.allow_insecure_network) == ("127.0.0.1", 9092, False)
    assert settings.retention_default_days == 30


def test_volumes_are_read_from_plain_values() -> None:
    settings = StorageSettings.model_validate({"volumes": [{"name": "fast", "path": "/mnt/a", "min_free_bytes": 7}]})
    assert [(volume.name, str(volume.path), volume.min_free_bytes) for volume in settings.volumes] == [
        ("fast", "/mnt/a", 7)
    ]


@pytest.mark.parametrize(
    "wrong", [{"volumes": [{"name": "a/b", "path": "/x"}]}, {"retention_default_days": 0}, {"rotation_s": 3601}]
)
def test_a_wrong_setting_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        StorageSettings.model_validate(wrong)
