"""The session over a real connection: plays, keeps alive, watches, ends with the reason and leaves nothing behind."""

import asyncio
import gc
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import uvloop
from tests.support.rtp_packets import goodbye, interleaved, sender_report
from tests.support.rtsp import KEYFRAME, FakeCamera, media_bytes, reply

from vms.common.clock import Clock, ManualClock, SystemClock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, VideoParameters
from vms.media.nal import join_lengths
from vms.media.rtsp import session as session_module
from vms.media.rtsp.message import Headers, Request, Response
from vms.media.rtsp.session import RtspSession
from vms.media.rtsp.tick_reader import TickReader


@pytest.fixture(autouse=True)
def _quick_chores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_CHORES_S", 0.002)


@dataclass
class Viewer:
    """A session, what it gave, and a way to wait for it."""

    url: str
    clock: Clock = field(default_factory=SystemClock)
    username: str = ""
    password: str = ""
    connect_timeout_s: float = 10.0
    units: list[AccessUnit] = field(default_factory=list)
    parameters: list[VideoParameters] = field(default_factory=list)
    playing: int = 0

    def __post_init__(self) -> None:
        self.reader = TickReader(0.001)
        self._changed = asyncio.Event()
        self.session = RtspSession(
            self.url,
            username=self.username,
            password=self.password,
            reader=self.reader,
            clock=self.clock,
            on_parameters=self.parameters.append,
            on_unit=self._on_unit,
            on_playing=self._on_playing,
            connect_timeout_s=self.connect_timeout_s,
        )

    def start(self) -> asyncio.Task[None]:
        self.task = asyncio.create_task(self.session.run())
        return self.task

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def failure(self) -> VmsError:
        """The error that the session ends with."""
        with pytest.raises(VmsError) as caught:
            await asyncio.wait_for(self.session.run(), 10)
        assert len(self.reader) == 0
        return caught.value

    async def stop(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task
        assert len(self.reader) == 0

    def _on_unit(self, unit: AccessUnit) -> None:
        self.units.append(unit)
        self._changed.set()

    def _on_playing(self) -> None:
        self.playing += 1
        self._changed.set()


async def eventually(condition: Callable[[], bool]) -> None:
    """For counters, which tell nobody that they changed."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)


async def test_units_come_out_and_the_end_is_torn_down() -> None:
    async with FakeCamera(media=[media_bytes(10)]) as camera:
        viewer = Viewer(camera.url)
        viewer.start()
        await viewer.until(lambda: len(viewer.units) == 10)
        await viewer.stop()
        await camera.until(lambda: camera.methods[-1] == "TEARDOWN")
        await camera.until(lambda: camera.open_connections == 0)
        assert viewer.playing == 1
        assert [p.width for p in viewer.parameters] == [640]
        assert viewer.units[0].payload == join_lengths(KEYFRAME)
        stats = viewer.session.stats
        assert (stats.units, stats.keyframes, stats.lost_packets, stats.corrupt_units) == (10, 1, 0, 0)
        assert stats.bytes > len(media_bytes(10))
        assert stats.packets > 10
        assert stats.last_unit_us is not None


def test_it_works_on_uvloop_too() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test_units_come_out_and_the_end_is_torn_down())


async def test_the_last_unit_is_not_lost_when_the_camera_hangs_up() -> None:
    async with FakeCamera(media=[media_bytes(1)], end_with_media=True) as camera:
        viewer = Viewer(camera.url)
        error = await viewer.failure()
        assert error.kind is ErrorKind.CLOSED
        assert len(viewer.units) == 1


async def test_goodbye_closes() -> None:
    async with FakeCamera(media=[media_bytes(3), interleaved(goodbye(), 1)]) as camera:
        error = await Viewer(camera.url).failure()
        assert error.kind is ErrorKind.CLOSED
        assert "BYE" in error.message


async def test_sender_reports_reach_the_statistics() -> None:
    clock = ManualClock()
    async with FakeCamera(
        media=[media_bytes(3), interleaved(sender_report(clock.now_us() - 5_000_000, 0xFFFFF000), 1)]
    ) as camera:
        viewer = Viewer(camera.url, clock)
        viewer.start()
        await viewer.until(lambda: len(viewer.units) == 3)
        await eventually(lambda: viewer.session.stats.clock_offset_us is not None)
        assert viewer.session.stats.clock_offset_us == pytest.approx(-5_000_000, abs=100_000)
        await viewer.stop()


# --- time -----------------------------------------------------------------------------------------------


async def test_keep_alives_and_receiver_reports_are_sent_while_playing() -> None:
    clock = ManualClock()
    async with FakeCamera(media=[media_bytes(3)]) as camera:
        viewer = Viewer(camera.url, clock)
        viewer.start()
        await viewer.until(lambda: len(viewer.units) == 3)
        clock.advance(8)
        await camera.until(lambda: bool(camera.received))
        assert camera.received[:2] == b"$\x01"
        assert camera.received[5] == 201
        assert "GET_PARAMETER" not in camera.methods
        viewer.session._progress = (viewer.session._progress[0], clock.monotonic() + 60)  # frames keep coming
        clock.advance(23)
        await camera.until(lambda: "GET_PARAMETER" in camera.methods)
        await viewer.stop()


async def test_a_stall_ends_the_session() -> None:
    clock = ManualClock()
    async with FakeCamera(media=[media_bytes(3)]) as camera:
        viewer = Viewer(camera.url, clock)
        task = viewer.start()
        await viewer.until(lambda: len(viewer.units) == 3)
        await eventually(lambda: viewer.session._progress[0] == 3)
        clock.advance(9)
        await asyncio.sleep(0)
        assert not task.done()
        clock.advance(2)
        with pytest.raises(VmsError, match="no complete frame for 10 seconds") as caught:
            await asyncio.wait_for(task, 10)
        assert caught.value.kind is ErrorKind.TIMEOUT


@pytest.mark.parametrize("silent", ["OPTIONS", "DESCRIBE", "SETUP"])
async def test_a_silent_camera_times_out(silent: str) -> None:
    async with FakeCamera(script={silent: lambda _: None}) as camera:
        error = await Viewer(camera.url, connect_timeout_s=0.05).failure()
        assert error.kind is ErrorKind.TIMEOUT
        await camera.until(lambda: camera.open_connections == 0)


async def test_a_camera_that_never_agrees_to_play_times_out() -> None:
    clock = ManualClock()
    async with FakeCamera(script={"PLAY": lambda _: None}) as camera:
        viewer = Viewer(camera.url, clock)
        task = viewer.start()
        await camera.until(lambda: "PLAY" in camera.methods)
        await eventually(lambda: viewer.session._deadline > 0)
        clock.advance(11)
        with pytest.raises(VmsError) as caught:
            await asyncio.wait_for(task, 10)
        assert caught.value.kind is ErrorKind.TIMEOUT
        assert viewer.playing == 0


# --- errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "answer", "kind"),
    [
        ("DESCRIBE", reply(404, "Not Found"), ErrorKind.NOT_FOUND),
        ("DESCRIBE", reply(401, WWW_Authenticate="Basic"), ErrorKind.AUTH),
        ("DESCRIBE", reply(body=b"v=0\r\nm=video 0 RTP/AVP 26\r\n"), ErrorKind.UNSUPPORTED),
        ("OPTIONS", b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorKind.PROTOCOL),
        ("SETUP", reply(461, "Unsupported Transport"), ErrorKind.UNSUPPORTED),
        ("PLAY", reply(455, "Method Not Valid"), ErrorKind.PROTOCOL),
        ("PLAY", b"\x00\x01\x02\x03", ErrorKind.PROTOCOL),
    ],
)
async def test_refusals_end_the_session_by_kind(method: str, answer: Response | bytes, kind: ErrorKind) -> None:
    async with FakeCamera(script={method: answer}) as camera:
        viewer = Viewer(camera.url, username="admin", password="very-secret")
        error = await viewer.failure()
        assert error.kind is kind
        assert "secret" not in str(error)
        await camera.until(lambda: camera.open_connections == 0)


async def test_credentials_of_the_url_are_used_and_given_ones_come_first() -> None:
    challenge = reply(401, "Unauthorized", WWW_Authenticate="Basic")
    for username, expected in (("", "Basic dTpw"), ("other", "Basic b3RoZXI6eA==")):
        async with FakeCamera(script={"OPTIONS": [challenge]}, media=[media_bytes(3)]) as camera:
            viewer = Viewer(camera.url.replace("rtsp://", "rtsp://u:p@"), username=username, password="x")
            viewer.start()
            await viewer.until(lambda: len(viewer.units) > 1)  # noqa: B023 - awaited at once
            await viewer.stop()
            assert camera.requests[1].headers.get("Authorization") == expected
            assert not any("@" in request.uri for request in camera.requests)


async def test_a_request_of_the_camera_is_answered_while_playing() -> None:
    ask = Request("OPTIONS", "*", Headers([("CSeq", "5")])).encode()
    async with FakeCamera(media=[ask, media_bytes(2)]) as camera:
        viewer = Viewer(camera.url)
        viewer.start()
        await camera.until(lambda: b"200 OK" in camera.replies)
        await viewer.stop()


def broken(_: VideoParameters) -> None:
    raise KeyError("a bug")


async def test_an_error_of_the_consumer_ends_the_session_as_internal() -> None:
    async with FakeCamera(media=[media_bytes(5)]) as camera:
        viewer = Viewer(camera.url)
        viewer.session._on_parameters = broken
        error = await viewer.failure()
        assert error.kind is ErrorKind.INTERNAL
        assert isinstance(error.__cause__, KeyError)
        await camera.until(lambda: camera.open_connections == 0)


async def test_a_url_that_is_none_is_invalid() -> None:
    error = await Viewer("http://cam/").failure()
    assert error.kind is ErrorKind.INVALID


# --- nothing left ---------------------------------------------------------------------------------------


async def test_two_hundred_sessions_leave_no_descriptor_and_no_task() -> None:
    async with FakeCamera(media=[media_bytes(3)]) as camera:
        reader_descriptors = 0
        for n in range(200):
            viewer = Viewer(camera.url)
            viewer.start()
            await viewer.until(lambda: len(viewer.units) == 3)  # noqa: B023 - awaited at once
            if n % 2:
                await viewer.stop()
            else:
                viewer.session._fail(VmsError(ErrorKind.CLOSED, "enough"))
                with pytest.raises(VmsError, match="enough"):
                    await viewer.task
            await camera.until(lambda: camera.open_connections == 0)
            if n == 5:
                gc.collect()
                reader_descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= reader_descriptors  # noqa: PTH208
        assert camera.connections == 200
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.done()]
        assert others == []
