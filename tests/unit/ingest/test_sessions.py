import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from tests.support.clock import cancelled, settle
from tests.support.ingest import FakeBus, FakeOutbox, FakeRtspSession, camera, stream
from tests.support.nats import until
from tests.support.recordings import CAMERA, PARAMS, fragment, record

from vms.bus.subscription import BusMessage
from vms.common.clock import SystemClock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container
from vms.format.volume import VolumeWriter
from vms.ingest import session as session_module
from vms.ingest import sessions as sessions_module
from vms.ingest.config import IngestSettings
from vms.ingest.sessions import RunningSession, SessionFactory, Volume
from vms.ingest.track import BusTrack, DiskTrack
from vms.media.rtsp.tick_reader import TickReader
from vms.proto import subjects
from vms.proto.convert import decode, encode
from vms.proto.messages import AnnouncementKind, GapCause, GopHeader, GopRequest, RecordingAnnouncement


@dataclasses.dataclass
class Desk:
    """A factory over a real volume, a bus and an outbox in memory."""

    factory: SessionFactory
    bus: FakeBus
    outbox: FakeOutbox
    root: Path

    async def make(self, **changes: object) -> RunningSession:
        return await self.factory.make(camera(CAMERA, **changes), lambda _: None)

    @property
    def announced(self) -> list[RecordingAnnouncement]:
        return [decode(RecordingAnnouncement, payload) for _, payload, _, _ in self.outbox.sent]


@asynccontextmanager
async def desk(root: Path) -> AsyncIterator[Desk]:
    clock, bus, outbox = SystemClock(), FakeBus(), FakeOutbox()
    volume = Volume("main", root, VolumeWriter("main", 1 << 20, clock))
    volume.writer.start()
    try:
        factory = SessionFactory(
            settings=IngestSettings(),
            bus=bus.as_bus(),
            outbox=outbox.as_outbox(),
            volumes={"main": volume},
            reader=cast("TickReader", None),
            clock=clock,
            worker="w1",
        )
        yield Desk(factory, bus, outbox, root)
    finally:
        await asyncio.to_thread(volume.writer.stop)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "RtspSession", FakeRtspSession)
    monkeypatch.setattr(FakeRtspSession, "made", [])


def files(root: Path) -> list[Path]:
    return list(root.glob(f"cameras/{CAMERA}/*/video_*"))


async def playing(running: RunningSession) -> tuple["asyncio.Task[None]", FakeRtspSession]:
    task = asyncio.create_task(running.run())
    await until(lambda: bool(FakeRtspSession.made))
    await settle()
    connection = FakeRtspSession.made[-1]
    connection.parameters()
    return task, connection


async def test_frames_of_a_camera_are_a_recording_on_its_volume_when_the_session_ends(tmp_path: Path) -> None:
    async with desk(tmp_path) as stand:
        running = await stand.make(container="mkv")
        task, connection = await playing(running)
        connection.send(stream(60))
        await cancelled(task)
        (file,) = files(tmp_path)
        assert (file.suffix, file.stat().st_size > 60 * 40) == (".mkv", True)
        last = stand.announced[-1]
        assert last.kind is AnnouncementKind.CLOSED
        assert last.file is not None
        assert (last.file.frames, last.file.container, last.file.volume) == (60, Container.MKV, "main")
        assert connection.has_left
        assert all(registration.is_closed for registration in stand.bus.registrations)


async def test_the_bus_is_answered_with_the_current_gop_while_the_session_runs(tmp_path: Path) -> None:
    async with desk(tmp_path) as stand:
        running = await stand.make()
        task, connection = await playing(running)
        connection.send(stream(30))
        subject = subjects.media_gop(running.session.config.id + "-main")  # type: ignore[arg-type]
        message = BusMessage(subject, encode(GopRequest(lease_s=2)))
        replies = [reply async for reply in stand.bus.services[subject](message)]
        assert decode(GopHeader, replies[0]) == GopHeader(PARAMS, 25, 5)
        assert len(replies) == 6
        connection.send(stream(2, first=30, gop=100))
        assert len(stand.bus.published) == 2
        await cancelled(task)


async def test_the_gap_since_the_last_life_of_the_recorder_is_found_on_disk(tmp_path: Path) -> None:
    record(tmp_path, [fragment(0)], Container.MP4)
    async with desk(tmp_path) as stand:
        running = await stand.make()
        task, connection = await playing(running)
        units = stream(30)
        for unit in units:
            unit.capture_us += 60_000_000
        connection.send(units)
        await cancelled(task)
        gaps = [announcement.gap for announcement in stand.announced if announcement.gap]
        assert [gap.cause for gap in gaps] == [GapCause.RECORDER_DOWN]
        assert gaps[0].end_us - gaps[0].start_us == 59_000_000


async def test_the_sink_and_the_wish_to_record_decide_where_frames_go(tmp_path: Path) -> None:
    async with desk(tmp_path) as stand:
        assert isinstance((await stand.make()).session.track, DiskTrack)
        assert isinstance((await stand.make(sink="bus")).session.track, BusTrack)
        assert (await stand.make(record=False)).session.track is None


async def test_a_camera_whose_volume_is_not_configured_is_recorded_on_another_one(tmp_path: Path) -> None:
    async with desk(tmp_path) as stand:
        running = await stand.make(volume="nas")
        task, connection = await playing(running)
        connection.send(stream(30))
        await cancelled(task)
        assert len(files(tmp_path)) == 1


async def test_a_disk_that_does_not_answer_delays_a_camera_by_no_more_than_the_look_back_may_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "to_thread", hang)
    monkeypatch.setattr(sessions_module, "_LOOK_BACK_TIMEOUT_S", 0.01)
    assert await sessions_module._look_back(tmp_path, camera()) is None


async def test_a_session_that_cannot_be_served_on_the_bus_leaves_nothing_behind(tmp_path: Path) -> None:
    async with desk(tmp_path) as stand:
        running = await stand.make()

        async def refuse(*_: object, **__: object) -> None:
            raise VmsError(ErrorKind.INVALID, "no such subject")

        stand.bus.serve_many = refuse  # type: ignore[method-assign,assignment]
        with pytest.raises(VmsError, match="no such subject"):
            await running.run()
        assert FakeRtspSession.made == []
