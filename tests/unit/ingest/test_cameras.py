import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from tests.support.clock import LoopClock, cancelled, run_virtual, settle
from tests.support.ingest import FakeBucket, FakeBus, camera

from vms.bus.kv import KvChange, KvOperation
from vms.bus.leases import LeaseKeeper
from vms.common.camera import CameraConfig
from vms.common.types import CameraId
from vms.ingest.cameras import CameraManager
from vms.ingest.desired import load_desired, save_desired
from vms.ingest.sessions import SessionFactory
from vms.proto import subjects


@dataclass
class FakeLeases:
    """Leases that are granted at once, but for those that another worker has."""

    wanted: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    of_others: set[str] = field(default_factory=set)
    on_change: Callable[[], None] = lambda: None

    def assume(self, keys: Iterable[str]) -> None:
        self.held |= frozenset(keys)

    def want(self, keys: Iterable[str]) -> None:
        self.wanted = frozenset(keys)
        before, self.held = self.held, frozenset(self.wanted - self.of_others)
        if self.held != before:
            self.on_change()


class FakeSession:
    """A session as the manager sees it."""

    def __init__(self, config: CameraConfig, log: list[str]) -> None:
        self.config = config
        self.log = log
        self.checks = 0
        self.failures: list[Exception] = []
        self.may_end = asyncio.Event()
        self.may_end.set()

    @property
    def session(self) -> "FakeSession":
        return self

    def check(self) -> None:
        self.checks += 1

    async def run(self) -> None:
        self.log.append(f"+{self.config.id}")
        try:
            if self.failures:
                raise self.failures.pop(0)
            await asyncio.Event().wait()
        finally:
            self.log.append(f"-{self.config.id}")
            await self.may_end.wait()


class FakeFactory:
    """Makes sessions, and remembers them."""

    def __init__(self) -> None:
        self.made: list[FakeSession] = []
        self.log: list[str] = []

    async def make(self, config: CameraConfig, _on_change: object) -> FakeSession:
        await asyncio.sleep(0)
        self.made.append(FakeSession(config, self.log))
        return self.made[-1]


class Desk:
    """A manager that runs, over a bucket and leases in memory."""

    def __init__(self, directory: Path, *remembered: CameraConfig) -> None:
        self.file = directory / "cameras.json"
        if remembered:
            save_desired(self.file, {config.id: config for config in remembered})
        self.factory, self.bus, self.leases = FakeFactory(), FakeBus(), FakeLeases()
        self.changed: list[CameraId] = []
        self.clock = LoopClock()
        self.manager = CameraManager(
            cast("SessionFactory", self.factory),
            bus=self.bus.as_bus(),
            leases=cast("LeaseKeeper", self.leases),
            desired_file=self.file,
            clock=self.clock,
            on_change=lambda session: self.changed.append(session.config.id),
        )
        self.leases.on_change = self.manager.leases_changed
        self.task = asyncio.create_task(self.manager.run())

    @property
    def bucket(self) -> FakeBucket:
        return self.bus.kv(subjects.CAMERAS_BUCKET)

    @property
    def running(self) -> set[str]:
        return {session.config.id for session in self.manager.sessions}

    def happened(self) -> list[str]:
        """What sessions did since the last call: ``+id`` started, ``-id`` ended."""
        log, self.factory.log[:] = list(self.factory.log), []
        return log

    async def remembered(self) -> set[str]:
        """The cameras in the file, once it is up to date."""
        expected: set[str] = set(self.manager._desired)
        for _ in range(2000):
            if set(load_desired(self.file)) == expected:
                break
            await asyncio.sleep(0)
        return set(load_desired(self.file))


@pytest.fixture
def scene(tmp_path: Path) -> Callable[..., Desk]:
    return lambda *remembered: Desk(tmp_path, *remembered)


Scene = Callable[..., Desk]


def test_cameras_of_the_last_run_are_recorded_before_the_bus_says_anything(scene: Scene) -> None:
    async def scenario() -> None:
        desk = scene(camera("a"), camera("b"), camera("off", enabled=False))
        await settle()
        assert desk.running == {"a", "b"}
        assert desk.leases.wanted == {"a", "b"}
        assert sorted(desk.changed) == ["a", "b"]
        assert [config.id for config in desk.manager.disabled] == ["off"]
        await cancelled(desk.task)
        assert sorted(desk.happened()) == ["+a", "+b", "-a", "-b"]

    run_virtual(scenario())


def test_a_new_camera_starts_and_is_remembered(scene: Scene) -> None:
    async def scenario() -> None:
        desk = scene(camera("a"))
        await settle()
        desk.happened()
        desk.bucket.tell(camera("a"), camera("b"))
        await settle()
        assert desk.happened() == ["+b"]
        assert await desk.remembered() == {"a", "b"}
        await cancelled(desk.task)

    run_virtual(scenario())


@pytest.mark.parametrize(
    "change",
    [
        {"url": "rtsp://192.0.2.9/x"},
        {"username": "u"},
        {"password": "p"},
        {"record": False},
        {"container": "mkv"},
        {"sink": "bus"},
        {"volume": "nas"},
    ],
)
def test_a_change_that_matters_restarts_that_camera_and_no_other(scene: Scene, change: dict[str, object]) -> None:
    async def scenario() -> None:
        desk = scene(camera("a"), camera("b"), camera("c"))
        await settle()
        desk.happened()
        desk.bucket.tell(camera("b", **change))
        await settle()
        assert desk.happened() == ["-b", "+b"]
        assert desk.factory.made[-1].config == camera("b", **change)
        await cancelled(desk.task)

    run_virtual(scenario())


@pytest.mark.parametrize("change", [{"name": "Door"}, {"retention_days": 3}, {"note": "from a newer version"}])
def test_a_new_name_or_retention_costs_no_frame(scene: Scene, change: dict[str, object]) -> None:
    async def scenario() -> None:
        desk = scene(camera("a"))
        await settle()
        desk.happened()
        desk.bucket.tell(camera("a", **change))
        await settle()
        assert desk.happened() == []
        (session,) = desk.manager.sessions
        assert session.config == camera("a", **change)
        assert cast("object", desk.manager.session(CameraId("a"))) is desk.factory.made[0]
        await cancelled(desk.task)

    run_virtual(scenario())


def test_a_deleted_camera_stops_at_once_and_is_forgotten(scene: Scene) -> None:
    async def scenario() -> None:
        desk = scene(camera("a"), camera("b"))
        desk.bucket.tell(camera("a"), camera("b"))
        await settle()
        desk.happened()
        desk.bucket.delete("a")
        await settle()
        assert desk.happened() == ["-a"]
        assert desk.manager.session(CameraId("a")) is None
        assert await desk.remembered() == {"b"}
        await cancelled(desk.task)

    run_virtual(scenario())


def test_a_camera_that_vanished_without_being_deleted_goes_on_for_a_while(scene: Scene) -> None:
    async def scenario() -> None:
        desk = scene()
        desk.bucket.tell(camera("a"), camera("b"))
        desk.bucket.end_snapshot()
        await settle()
        desk.bucket.delete("b", revision=0)
        desk.bucket.end_snapshot()
        await asyncio.sleep(14)
        assert desk.running == {"a", "b"}
        await asyncio.sleep(3)
        assert desk.running == {"a"}
        await cancelled(desk.task)

    run_virtual(scenario())


def test_a_bus_that_lost_everything_stops_no_recording_until_the_api_has_told_it_again(scene: Scene) -> None:
    async def scenario() -> None:
        desk = scene(camera("a"), camera("b"), camera("gone"))
        desk.bucket.end_snapshot()
        await asyncio.sleep(3600)  # the API does not come up
        assert desk.running == {"a", "b", "gone"}
        desk.bucket.tell(camera("a"))
        await asyncio.sleep(2)
        assert desk.running == {"a", "b", "gone"}  # the API is in the middle of it
        desk.bucket.tell(camera("b"))
        await asyncio.sleep(20)
        assert desk.running == {"a", "b"}
        assert sorted(desk.happened()) == ["+a", "+b", "+gone", "-gone"]
        await cancelled(desk.task)

    run_virtual(scenario())


def test_an_entry_that_cannot_be_read_ends_no_recording(scene: Scene) -> None:
    async def scenario() -> None:
        desk = scene(camera("a"))
        await settle()
        desk.happened()
        desk.bucket.changes.put_nowait(KvChange(KvOperation.PUT, "a", b"\xff\xff", 1))
        desk.bucket.changes.put_nowait(KvChange(KvOperation.PUT, "a", b"", 2))
        await asyncio.sleep(30)
        assert desk.happened() == []
        assert desk.running == {"a"}
        await cancelled(desk.task)

    run_virtual(scenario())


def test_an_entry_under_another_cameras_key_is_not_recorded_into_that_cameras_directory(scene: Scene) -> None:
    async def scenario() -> None:
        desk = scene()
        desk.bucket.tell(camera("a"))
        change = desk.bucket.changes.get_nowait()
        desk.bucket.changes.put_nowait(KvChange(KvOperation.PUT, "b", change.value, 1))
        await settle()
        assert desk.running == set()
        await cancelled(desk.task)

    run_virtual(scenario())


def test_a_camera_that_is_switched_off_stops_and_is_known_since_when(scene: Scene) -> None:
    async def scenario() -> None:
        desk = scene(camera("a"))
        await settle()
        off_us = desk.clock.now_us()
        desk.bucket.tell(camera("a", enabled=False))
        await settle()
        assert desk.running == set()
        assert desk.leases.wanted == frozenset()
        await asyncio.sleep(5)
        desk.bucket.tell(camera("a", enabled=False, name="Door"))
        await settle()
        assert desk.manager.disabled_since_us == {"a": off_us}
        desk.bucket.tell(camera("a"))
        await settle()
        assert desk.running == {"a"}
        assert desk.manager.disabled_since_us == {}
        await cancelled(desk.task)

    run_virtual(scenario())


def test_only_cameras_whose_lease_is_held_run_and_a_lost_lease_stops_its_camera(scene: Scene) -> None:
    async def scenario() -> None:
        desk = scene()
        desk.leases.of_others = {"b"}
        desk.bucket.tell(camera("a"), camera("b"))
        await settle()
        assert desk.running == {"a"}
        desk.leases.of_others = {"a"}
        desk.leases.held = frozenset({"b"})
        desk.manager.leases_changed()
        await settle()
        assert desk.running == {"b"}
        await cancelled(desk.task)

    run_virtual(scenario())


def test_a_session_that_fails_is_run_again_and_the_others_never_notice(scene: Scene) -> None:
    async def scenario() -> None:
        desk = scene(camera("a"), camera("b"))
        await settle()
        bad = desk.factory.made[0]
        desk.happened()
        bad.failures = [ValueError("bug"), ValueError("bug")]
        desk.manager._tasks[bad.config.id].cancel()
        await settle()
        desk.happened()
        desk.manager._tasks[bad.config.id] = asyncio.create_task(desk.manager._keep_running(cast("object", bad)))  # type: ignore[arg-type]
        await asyncio.sleep(2.5)
        assert desk.happened() == ["+a", "-a", "+a", "-a", "+a"]
        await cancelled(desk.task)

    run_virtual(scenario())


def test_a_session_that_does_not_end_holds_up_no_other_camera_for_long(scene: Scene) -> None:
    async def scenario() -> None:
        desk = scene(camera("a"), camera("b"))
        await settle()
        hung = desk.factory.made[0]
        hung.may_end.clear()
        desk.happened()
        desk.bucket.tell(camera(hung.config.id, username="new"))
        await settle()
        desk.bucket.tell(camera("c"))
        await asyncio.sleep(6)
        assert desk.running == {"a", "b", "c"}
        assert desk.happened() == ["-a", "+a", "+c"]
        hung.may_end.set()
        await cancelled(desk.task)

    run_virtual(scenario())


def test_every_running_session_is_checked_once_a_second(scene: Scene) -> None:
    async def scenario() -> None:
        desk = scene(camera("a"), camera("b"))
        await asyncio.sleep(10.5)
        assert [session.checks for session in desk.factory.made] == [10, 10]
        await cancelled(desk.task)

    run_virtual(scenario())


def test_a_directory_that_cannot_be_written_costs_no_recording(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = Desk(tmp_path / "missing")
        desk.bucket.tell(camera("a"))
        await asyncio.sleep(5)
        assert desk.running == {"a"}
        await cancelled(desk.task)

    run_virtual(scenario())


def test_the_manager_ends_with_every_session_ended(scene: Scene) -> None:
    async def scenario() -> None:
        desk = scene(*(camera(f"c{n}") for n in range(10)))
        await settle()
        await cancelled(desk.task)
        assert len([line for line in desk.happened() if line.startswith("-")]) == 10
        assert list(desk.manager.sessions) == []

    run_virtual(scenario())
