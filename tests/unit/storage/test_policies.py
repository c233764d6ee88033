from vms.bus.kv import KvChange, KvOperation
from vms.common.camera import CameraConfig
from vms.common.types import CameraId
from vms.proto.convert import encode
from vms.storage.policies import CameraPolicies


def put(camera_id: str, days: float, volume: str = "main") -> KvChange:
    config = CameraConfig(id=CameraId(camera_id), name="A", url="rtsp://h/1", retention_days=days, volume=volume)
    return KvChange(KvOperation.PUT, camera_id, encode(config))


def test_days_are_known_once_the_whole_bucket_was_seen() -> None:
    policies = CameraPolicies(default_days=30)
    policies.update(put("a", 7))
    assert policies.retention().days is None
    policies.update(KvChange(KvOperation.SNAPSHOT_END))
    assert policies.retention().days == {"a": 7}


def test_a_removed_camera_falls_back_to_the_default() -> None:
    policies = CameraPolicies(default_days=30)
    for change in (put("a", 7), KvChange(KvOperation.SNAPSHOT_END), KvChange(KvOperation.DELETE, "a", revision=3)):
        policies.update(change)
    assert policies.retention().days == {}
    assert policies.retention().cutoff_us("a", 31 * 86_400_000_000) == 86_400_000_000


def test_a_configuration_that_cannot_be_read_deletes_nothing() -> None:
    policies = CameraPolicies(default_days=30)
    for change in (
        put("a", 7),
        KvChange(KvOperation.PUT, "a", b"\xff\xff"),
        KvChange(KvOperation.PUT, "b", b"\xff\xff"),
        KvChange(KvOperation.SNAPSHOT_END),
    ):
        policies.update(change)
    assert policies.retention().days == {"a": 7, "b": 36_500}


def test_the_volume_is_the_cameras_own_or_the_default() -> None:
    policies = CameraPolicies(default_days=30)
    policies.update(put("a", 7, "fast"))
    assert (policies.volume_of("a"), policies.volume_of("b")) == ("fast", "main")


def test_a_camera_that_the_bus_lost_keeps_its_retention() -> None:
    policies = CameraPolicies(default_days=30)
    for change in (put("a", 365), KvChange(KvOperation.DELETE, "a"), KvChange(KvOperation.SNAPSHOT_END)):
        policies.update(change)
    assert policies.retention().days == {"a": 365}
