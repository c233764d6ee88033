import asyncio
from collections.abc import Coroutine
from typing import cast

import pytest
from tests.support.clock import LoopClock, cancelled, run_virtual, settle
from tests.support.ingest import FakeRtspSession, camera, stream
from tests.support.recordings import PARAMS

from vms.common.camera import CameraState, CameraStatus
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, FrameFlag, VideoParameters
from vms.ingest import session as session_module
from vms.ingest.config import IngestSettings
from vms.ingest.session import CameraSession, disabled_status
from vms.media.rtsp.tick_reader import TickReader
from vms.proto.messages import GapCause


class FakeTrack:
    """A recorder that remembers what it was told."""

    def __init__(self) -> None:
        self.error: VmsError | None = None
        self.behind_s = 0.0
        self.is_recording = True
        self.gaps_total = 3
        self.happened: list[object] = []

    def set_parameters(self, parameters: VideoParameters) -> None:
        self.happened.append(parameters)

    def add(self, unit: AccessUnit) -> None:
        self.happened.append(unit)

    def flush(self) -> None:
        self.happened.append("flush")

    def interrupted(self, cause: GapCause, detail: str) -> None:
        self.happened.append((cause, detail))

    async def run(self) -> None:
        await asyncio.Event().wait()


class FakeLive:
    """A viewer who comes and goes."""

    def __init__(self) -> None:
        self.wanted = False
        self.got: list[int] = []
        self.checks = 0

    def expire(self) -> None:
        self.checks += 1

    def publish(self, unit: AccessUnit, parameters: VideoParameters) -> None:
        assert parameters == PARAMS
        self.got.append(unit.seq)


class Desk:
    """A session that runs, and what it stands on."""

    def __init__(self, *, records: bool = True, **settings: float) -> None:
        self.track, self.live = FakeTrack(), FakeLive()
        self.states: list[CameraState] = []
        self.clock = LoopClock()
        self.session = CameraSession(
            camera(username="admin", password="s3cr3t"),
            settings=IngestSettings.model_validate(settings),
            reader=cast("TickReader", None),
            clock=self.clock,
            worker="w1",
            track=self.track if records else None,
            live=self.live,
            on_change=lambda session: self.states.append(session.state.state),
        )
        self.task = asyncio.create_task(self.session.run())

    @property
    def cameras(self) -> list[FakeRtspSession]:
        """The connections that were made so far."""
        return FakeRtspSession.made

    async def online(self, frames: int = 25) -> FakeRtspSession:
        await settle()
        connection = self.cameras[-1]
        connection.parameters()
        connection.send(stream(frames))
        return connection

    async def watched(self, seconds: float, connection: FakeRtspSession | None = None) -> None:
        """Let time pass with the check of every second; frames come if there is a connection to send them."""
        for _ in range(round(seconds)):
            if connection is not None:
                connection.send(stream(25))
            self.session.check()
            await asyncio.sleep(1)

    async def next_try(self, tries: int) -> None:
        """Let time pass until the camera is called once more."""
        while len(self.cameras) == tries:  # noqa: ASYNC110 - in virtual time
            await asyncio.sleep(0.05)

    @property
    def status(self) -> CameraStatus:
        return self.session.status()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "RtspSession", FakeRtspSession)
    monkeypatch.setattr(FakeRtspSession, "made", [])


def virtual(scenario: "Coroutine[object, object, None]") -> None:
    run_virtual(scenario)


def test_a_camera_is_called_with_its_address_and_credentials_and_is_online_with_its_first_keyframe() -> None:
    async def scenario() -> None:
        desk = Desk()
        await settle()
        assert [c.credentials for c in desk.cameras] == [("admin", "s3cr3t")]
        assert desk.cameras[0].url == desk.session.config.url
        assert desk.status.state is CameraState.CONNECTING
        await desk.online()
        assert desk.states == [CameraState.ONLINE]
        assert (desk.status.codec, desk.status.width, desk.status.height) == ("h264", 320, 240)
        await cancelled(desk.task)
        assert desk.cameras[0].has_left

    virtual(scenario())


def test_frames_before_the_first_keyframe_are_left_out_and_the_keyframe_begins_anew() -> None:
    async def scenario() -> None:
        desk = Desk()
        await settle()
        units = stream(35, gop=30)
        desk.cameras[0].parameters()
        desk.cameras[0].send(units[1:])
        taken = [unit for unit in desk.track.happened if isinstance(unit, AccessUnit)]
        assert taken == units[30:]
        assert [unit.seq for unit in taken] == [0, 1, 2, 3, 4]
        assert [bool(unit.flags & FrameFlag.DISCONTINUITY) for unit in taken] == [True] + 4 * [False]
        assert desk.session.ring.gop() == taken
        await cancelled(desk.task)

    virtual(scenario())


def test_after_a_failure_it_tells_the_recorder_why_and_comes_back() -> None:
    async def scenario() -> None:
        desk = Desk()
        connection = await desk.online()
        connection.end(ErrorKind.CLOSED, "connection reset")
        await settle()
        assert desk.track.happened[-2:] == ["flush", (GapCause.NETWORK, "connection reset")]
        status = desk.status
        assert (status.state, status.last_error, status.last_error_kind) == (
            CameraState.OFFLINE,
            "connection reset",
            "closed",
        )
        assert status.next_try_us is not None
        assert 0 < status.next_try_us - desk.clock.now_us() <= 600_000
        assert len(desk.session.ring) == 0
        await asyncio.sleep(1)
        await desk.online()
        assert desk.states == [CameraState.ONLINE, CameraState.OFFLINE, CameraState.OFFLINE, CameraState.ONLINE]
        assert (desk.status.last_error, desk.status.next_try_us, desk.status.reconnects_total) == (None, None, 1)
        await cancelled(desk.task)

    virtual(scenario())


def test_sequence_numbers_go_on_over_connections_and_each_begins_with_a_discontinuity() -> None:
    async def scenario() -> None:
        desk = Desk()
        (await desk.online(10)).end(ErrorKind.CLOSED)
        await asyncio.sleep(1)
        await desk.online(10)
        taken = [unit for unit in desk.track.happened if isinstance(unit, AccessUnit)]
        assert [unit.seq for unit in taken] == list(range(20))
        assert [unit.seq for unit in taken if unit.flags & FrameFlag.DISCONTINUITY] == [0, 10]
        await cancelled(desk.task)

    virtual(scenario())


@pytest.mark.parametrize(
    ("lasts_s", "kind", "between"),
    [
        (0.0, ErrorKind.UNREACHABLE, (33, 50)),  # refused at once
        (10.0, ErrorKind.TIMEOUT, (25, 40)),  # does not answer: each try takes its ten seconds
        (20.0, ErrorKind.TIMEOUT, (18, 30)),  # answers, and sends nothing
    ],
)
def test_a_camera_that_is_away_is_tried_less_and_less_often_however_long_a_try_takes(
    lasts_s: float, kind: ErrorKind, between: tuple[int, int]
) -> None:
    async def scenario() -> None:
        desk = Desk()
        began_at = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - began_at < 1000:
            await settle()
            tries = len(desk.cameras)
            await asyncio.sleep(lasts_s)
            desk.cameras[-1].end(kind)
            await desk.next_try(tries)
        assert between[0] <= len(desk.cameras) <= between[1]
        await cancelled(desk.task)

    virtual(scenario())


def test_a_camera_that_was_there_a_moment_ago_is_tried_at_least_every_four_seconds_for_two_minutes() -> None:
    async def scenario() -> None:
        desk = Desk()
        connection = await desk.online()
        await desk.watched(300, connection)
        connection.end(ErrorKind.CLOSED)
        waits: list[float] = []
        while sum(waits) < 115:
            before, tries = asyncio.get_running_loop().time(), len(desk.cameras)
            await desk.next_try(tries)
            waits.append(asyncio.get_running_loop().time() - before)
            desk.cameras[-1].end(ErrorKind.UNREACHABLE)
        assert max(waits) <= 4.1
        await cancelled(desk.task)

    virtual(scenario())


def test_wrong_credentials_are_not_tried_often_even_where_the_camera_was_there() -> None:
    async def scenario() -> None:
        desk = Desk()
        (await desk.online()).end(ErrorKind.AUTH, "401")
        for _ in range(10):
            tries = len(desk.cameras)
            await desk.next_try(tries)
            desk.cameras[-1].end(ErrorKind.AUTH, "401")
            await settle()
        assert desk.status.state is CameraState.AUTH_FAILED
        assert (GapCause.AUTH, "401") in desk.track.happened
        assert desk.status.next_try_us is not None
        assert desk.status.next_try_us - desk.clock.now_us() > 20_000_000
        await cancelled(desk.task)

    virtual(scenario())


def test_a_bug_in_a_connection_costs_that_connection_only() -> None:
    async def scenario() -> None:
        desk = Desk()
        (await desk.online()).crash(ZeroDivisionError("x"))
        await asyncio.sleep(1)
        assert desk.status.last_error_kind == "internal"
        await desk.online()
        assert desk.status.state is CameraState.ONLINE
        await cancelled(desk.task)

    virtual(scenario())


def test_counters_and_rates_are_those_of_all_connections() -> None:
    async def scenario() -> None:
        desk = Desk()
        connection = await desk.online(25)
        await desk.watched(3, connection)
        connection.stats.lost_packets = 7
        connection.end(ErrorKind.CLOSED)
        await asyncio.sleep(1)
        connection = await desk.online(25)
        await desk.watched(6, connection)
        status = desk.status
        assert (status.frames_total, status.lost_packets_total, status.reconnects_total) == (25 * 11, 7, 1)
        assert status.bytes_total == 25 * 11 * 40
        assert status.fps == pytest.approx(25, abs=0.1)
        assert status.bitrate_bps == pytest.approx(25 * 40 * 8, rel=0.01)
        assert (status.gaps_total, status.worker, status.recording) == (3, "w1", True)
        assert status.last_frame_us == desk.clock.now_us() - 1_000_000
        await cancelled(desk.task)

    virtual(scenario())


def test_a_camera_whose_frames_stop_is_degraded_within_seconds_and_online_again_when_they_come() -> None:
    async def scenario() -> None:
        desk = Desk()
        connection = await desk.online()
        await desk.watched(10, connection)
        await desk.watched(8)
        assert desk.status.state is CameraState.DEGRADED
        assert "stalls" in str(desk.status.last_error)
        await desk.watched(2, connection)
        assert desk.status.last_error is None
        changes = [
            str(state) for state, before in zip(desk.states, [None, *desk.states], strict=False) if state != before
        ]
        assert changes == ["online", "degraded", "online"]
        await cancelled(desk.task)

    virtual(scenario())


def test_a_disk_that_fails_or_lags_makes_a_camera_degraded() -> None:
    async def scenario() -> None:
        desk = Desk()
        connection = await desk.online()
        desk.track.error = VmsError(ErrorKind.STORAGE, "No space left on device")
        await desk.watched(1, connection)
        assert (desk.status.state, desk.status.last_error) == (CameraState.DEGRADED, "No space left on device")
        desk.track.error, desk.track.behind_s = None, 5.0
        await desk.watched(1, connection)
        assert "5 s behind" in str(desk.status.last_error)
        desk.track.behind_s = 1.0
        await desk.watched(1, connection)
        assert desk.states[-1] is CameraState.ONLINE
        await cancelled(desk.task)

    virtual(scenario())


def test_an_offline_camera_is_not_shown_as_recording() -> None:
    async def scenario() -> None:
        desk = Desk()
        connection = await desk.online()
        before = desk.status.recording
        connection.end(ErrorKind.CLOSED)
        await settle()
        assert (before, desk.status.recording) == (True, False)
        await cancelled(desk.task)

    virtual(scenario())


def test_it_is_told_when_recording_begins_and_ends_although_the_state_stays() -> None:
    async def scenario() -> None:
        desk = Desk()
        desk.track.is_recording = False
        connection = await desk.online()
        told = []
        for is_recording in (False, True, True, False):
            desk.track.is_recording = is_recording
            desk.states.clear()
            await desk.watched(1, connection)
            told.append([str(state) for state in desk.states])
        assert told == [[], ["online"], [], ["online"]]
        await cancelled(desk.task)

    virtual(scenario())


def test_a_camera_that_is_not_to_be_recorded_is_still_watched() -> None:
    async def scenario() -> None:
        desk = Desk(records=False)
        connection = await desk.online()
        await desk.watched(2, connection)
        assert (desk.status.state, desk.status.recording, desk.status.gaps_total) == (CameraState.ONLINE, False, 0)
        assert len(desk.session.ring) == 75
        connection.end(ErrorKind.CLOSED)
        await settle()
        await cancelled(desk.task)

    virtual(scenario())


def test_frames_are_published_only_while_somebody_wants_them() -> None:
    async def scenario() -> None:
        desk = Desk()
        connection = await desk.online(5)
        desk.live.wanted = True
        connection.send(stream(3))
        desk.live.wanted = False
        connection.send(stream(3))
        assert desk.live.got == [5, 6, 7]
        desk.session.check()
        assert desk.live.checks == 1
        await cancelled(desk.task)

    virtual(scenario())


def test_a_camera_that_is_switched_off_has_a_status_too() -> None:
    status = disabled_status(camera(enabled=False), since_us=5, now_us=9, worker="w1")
    assert (status.state, status.since_us, status.updated_us, status.worker) == (CameraState.DISABLED, 5, 9, "w1")
    assert not status.recording
