import asyncio
from dataclasses import dataclass, field

import pytest
from tests.support.http import FakeBucket

from vms.api.projection import CameraProjection
from vms.common.camera import CameraConfig
from vms.common.errors import VmsError
from vms.common.types import CameraId
from vms.proto.convert import decode, encode


def camera(camera_id: str, name: str = "A") -> CameraConfig:
    return CameraConfig(id=CameraId(camera_id), name=name, url="rtsp://h/1")


@dataclass
class Stored:
    cameras: dict[str, CameraConfig] = field(default_factory=dict)

    async def config(self, camera_id: CameraId) -> CameraConfig | None:
        return self.cameras.get(camera_id)

    async def configs(self) -> list[CameraConfig]:
        return list(self.cameras.values())


def stored(*cameras: CameraConfig) -> Stored:
    return Stored({config.id: config for config in cameras})


async def test_the_first_step_makes_the_bucket_equal_to_the_database() -> None:
    bucket = FakeBucket({
        "a": encode(camera("a")), "b": encode(camera("b", "old")), "gone": encode(camera("gone")), "bad": b"\xff\xff"
    })  # fmt: skip
    database = stored(camera("a"), camera("b", "new"), camera("bad"), camera("new"))
    await CameraProjection(database, bucket, interval_s=60).step()
    assert {key: decode(CameraConfig, value) for key, value in bucket.values.items()} == database.cameras
    assert bucket.puts == ["b", "bad", "new"]  # what was right is left alone


async def test_a_change_is_projected_alone() -> None:
    database, bucket = stored(camera("a"), camera("b")), FakeBucket()
    projection = CameraProjection(database, bucket, interval_s=60)
    await projection.step()
    bucket.puts.clear()
    database.cameras["b"] = camera("b", "new")
    projection.changed(CameraId("b"))
    del database.cameras["a"]
    projection.changed(CameraId("a"))
    await projection.step()
    assert bucket.puts == ["b"]
    assert sorted(bucket.values) == ["b"]


async def passed_on(projection: CameraProjection) -> None:
    while projection.error is not None:  # noqa: ASYNC110 - it has no event to wait for
        await asyncio.sleep(0)


async def test_changes_made_while_the_bus_is_down_arrive_when_it_is_back() -> None:
    database, bucket = stored(camera("a")), FakeBucket(down=True)
    failed, retry = asyncio.Event(), asyncio.Event()

    async def sleep(_seconds: float) -> None:
        failed.set()
        await retry.wait()

    projection = CameraProjection(database, bucket, interval_s=60, sleep=sleep)
    task = asyncio.create_task(projection.run())
    await failed.wait()
    assert projection.error == "not connected to the bus"
    database.cameras["b"] = camera("b")
    projection.changed(CameraId("b"))
    bucket.down = False
    retry.set()
    async with asyncio.timeout(5):
        await passed_on(projection)
    assert sorted(bucket.values) == ["a", "b"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_step_that_fails_says_why() -> None:
    with pytest.raises(VmsError, match="not connected"):
        await CameraProjection(stored(), FakeBucket(down=True), interval_s=60).step()
