import asyncio
from dataclasses import dataclass, field
from typing import cast

from tests.support.clock import LoopClock, cancelled, run_virtual, settle
from tests.support.ingest import FakeBucket, FakeBus, FakeOutbox, camera

from vms.common.camera import CameraConfig, CameraState, CameraStatus
from vms.common.errors import ErrorKind
from vms.common.types import CameraId
from vms.ingest.cameras import CameraManager
from vms.ingest.session import CameraSession
from vms.ingest.state import SessionState
from vms.ingest.status import StatusPublisher
from vms.proto import subjects
from vms.proto.convert import decode
from vms.proto.messages import Event, Severity


@dataclass
class FakeSession:
    """A session whose state the test sets."""

    config: CameraConfig
    state: SessionState = field(default_factory=lambda: SessionState(CameraState.CONNECTING, 5))

    def status(self) -> CameraStatus:
        return CameraStatus(
            camera_id=self.config.id,
            state=self.state.state,
            since_us=self.state.since_us,
            last_error=self.state.last_error,
        )


@dataclass
class FakeManager:
    """The cameras of a worker."""

    sessions: list[FakeSession] = field(default_factory=list)
    disabled: list[CameraConfig] = field(default_factory=list)
    disabled_since_us: dict[CameraId, int] = field(default_factory=dict)


class Desk:
    """A publisher that runs, every ten seconds."""

    def __init__(self, *cameras: str) -> None:
        self.bus, self.outbox = FakeBus(), FakeOutbox()
        self.sessions = {name: FakeSession(camera(name, name=f"Camera {name}")) for name in cameras}
        self.manager = FakeManager(list(self.sessions.values()))
        self.clock = LoopClock()
        self.publisher = StatusPublisher(
            self.bus.as_bus(), self.outbox.as_outbox(), worker="w1", interval_s=10, clock=self.clock
        )
        self.task = asyncio.create_task(self.publisher.run(cast("CameraManager", self.manager)))

    @property
    def bucket(self) -> FakeBucket:
        return self.bus.kv(subjects.STATUS_BUCKET)

    def published(self) -> list[str]:
        """Cameras whose status was put since the last call."""
        puts, self.bucket.puts[:] = list(self.bucket.puts), []
        return puts

    def status(self, name: str) -> CameraStatus:
        return decode(CameraStatus, self.bucket.values[name])

    def change(self, name: str, state: CameraState, error: str | None = None) -> None:
        session = self.sessions[name]
        session.state = SessionState(state, self.clock.now_us(), error, ErrorKind.CLOSED if error else None)
        self.publisher.changed(cast("CameraSession", session))

    @property
    def events(self) -> list[Event]:
        return [decode(Event, payload) for _, payload, _, _ in self.outbox.sent]


def test_every_camera_is_published_at_once_and_then_every_interval_so_that_silence_means_death() -> None:
    async def scenario() -> None:
        desk = Desk("a", "b")
        await asyncio.sleep(0.1)
        assert desk.published() == ["a", "b"]
        await asyncio.sleep(30)
        assert desk.published() == ["a", "b"] * 3
        await cancelled(desk.task)

    run_virtual(scenario())


def test_a_change_is_published_alone_and_within_a_moment() -> None:
    async def scenario() -> None:
        desk = Desk("a", "b")
        await asyncio.sleep(1)
        desk.published()
        desk.change("b", CameraState.ONLINE)
        await asyncio.sleep(0.5)
        assert desk.published() == ["b"]
        assert desk.status("b").state is CameraState.ONLINE
        await cancelled(desk.task)

    run_virtual(scenario())


def test_a_camera_that_flaps_does_not_flood_the_bus() -> None:
    async def scenario() -> None:
        desk = Desk("a")
        await asyncio.sleep(1)
        desk.published()
        for number in range(40):
            desk.change("a", CameraState.ONLINE if number % 2 else CameraState.OFFLINE, "gone")
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        assert 1 <= len(desk.published()) <= 9
        assert desk.status("a").state is CameraState.ONLINE
        await cancelled(desk.task)

    run_virtual(scenario())


def test_cameras_that_are_switched_off_are_published_with_the_others() -> None:
    async def scenario() -> None:
        desk = Desk("a")
        desk.manager.disabled = [camera("off", enabled=False)]
        desk.manager.disabled_since_us = {CameraId("off"): 77}
        await asyncio.sleep(0.1)
        status = desk.status("off")
        assert (status.state, status.since_us, status.worker) == (CameraState.DISABLED, 77, "w1")
        assert abs(status.updated_us - desk.clock.now_us()) < 200_000
        await cancelled(desk.task)

    run_virtual(scenario())


def test_a_bus_that_is_away_costs_nothing_and_hears_of_everything_when_it_is_back() -> None:
    async def scenario() -> None:
        desk = Desk("a", "b")
        desk.bus.away = True
        await asyncio.sleep(1)
        desk.change("a", CameraState.ONLINE)
        await asyncio.sleep(1)
        assert desk.published() == []
        desk.bus.away = False
        await asyncio.sleep(10)
        assert desk.published() == ["a", "b"]
        desk.bucket.away = True  # it goes in the middle of a round
        await asyncio.sleep(10)
        desk.bucket.away = False
        await asyncio.sleep(10)
        assert desk.published() == ["a", "b"]
        await cancelled(desk.task)

    run_virtual(scenario())


def test_going_down_and_coming_back_are_events_and_the_first_state_and_retries_are_none() -> None:
    async def scenario() -> None:
        desk = Desk("a")
        await settle()
        desk.change("a", CameraState.CONNECTING)
        desk.change("a", CameraState.ONLINE)
        desk.change("a", CameraState.DEGRADED, "slow disk")
        desk.change("a", CameraState.ONLINE)
        assert desk.events == []
        desk.change("a", CameraState.OFFLINE, "connection reset")
        desk.change("a", CameraState.OFFLINE, "refused")
        desk.change("a", CameraState.ONLINE)
        down, up = desk.events
        assert (down.kind, down.severity, down.text) == ("camera_down", Severity.WARNING, "Camera a: connection reset")
        assert (up.kind, up.severity, up.text) == ("camera_up", Severity.INFO, "Camera a is online")
        assert down.attributes == {"state": "offline"}
        assert down.at_us == desk.clock.now_us()
        (subject, _, msg_id, droppable), _ = desk.outbox.sent
        assert (subject, msg_id, droppable) == (subjects.event(CameraId("a"), "camera_down"), down.id, False)
        await cancelled(desk.task)

    run_virtual(scenario())


def test_a_camera_that_is_down_from_the_start_is_an_event_when_it_comes() -> None:
    async def scenario() -> None:
        desk = Desk("a")
        await settle()
        desk.change("a", CameraState.OFFLINE, "refused")
        desk.change("a", CameraState.ONLINE)
        assert [event.kind for event in desk.events] == ["camera_up"]
        await cancelled(desk.task)

    run_virtual(scenario())
