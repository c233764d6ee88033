import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.nats import until
from tests.support.recordings import CAMERA, PARAMS, START_US, fragment
from tests.support.storage import StorageApp, announcement_of, delivery, storage_app

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container
from vms.common.types import CameraId
from vms.format.model import RecordingEvent
from vms.format.recording import RecordingWriter
from vms.proto.messages import AnnouncementKind, Gap, GapCause, RecordingAnnouncement
from vms.storage.segments import SegmentFacts, Span

SPAN = Span(START_US, START_US + 60_000_000)


def recorded(app: StorageApp, seconds: int, *, close: bool = True) -> list[RecordingEvent]:
    writer = RecordingWriter(app.root, CAMERA, container=Container.MP4)
    events: list[RecordingEvent] = []
    for number in range(seconds):
        events += writer.write(PARAMS, fragment(number), 0.0)
    return [*events, *writer.close()] if close else events


async def rows(app: StorageApp) -> list[SegmentFacts]:
    return await app.storage.repository.overlapping(CAMERA, SPAN)


async def test_announcements_become_one_row_that_grows_and_is_closed(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        events = recorded(app, 3)
        states = []
        for event in events:
            await app.announce([event])
            [row] = await rows(app)
            states.append((row.closed, row.frames))
        assert states == [(False, 25), (False, 25), (False, 50), (False, 75), (True, 75)]
        assert app.storage.catalogue.applied_total == 5


async def test_announcements_that_come_twice_change_nothing(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        events = recorded(app, 2)
        await app.announce(events)
        before = await rows(app)
        await app.announce(events[1:])
        assert await rows(app) == before


async def test_a_file_that_is_gone_gets_no_row_back(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        events = recorded(app, 1)
        (app.root / events[0].path).unlink()
        await app.announce(events)
        assert await rows(app) == []
        assert app.storage.catalogue.skipped_total == len(events)


async def test_a_recording_of_a_volume_that_is_elsewhere_is_catalogued(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        event = recorded(app, 1)[-1]
        await app.storage.catalogue.apply(delivery(announcement_of(event, volume="remote")))
        assert [row.volume for row in await rows(app)] == ["remote"]


async def test_gaps_are_entered(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        gap = Gap(CAMERA, START_US, START_US + 5, GapCause.CAMERA_OFFLINE, "no route")
        message = RecordingAnnouncement(CAMERA, "w1", AnnouncementKind.GAP, gap=gap)
        await app.storage.catalogue.apply(delivery(message))
        assert await app.storage.repository.gaps(CAMERA, SPAN) == [gap]


async def test_a_path_that_is_not_the_cameras_is_refused_for_good(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        message = announcement_of(recorded(app, 1)[0])
        assert message.file is not None
        for path in ("../../etc/passwd", "cameras/other/2026-03-01/video_10.mp4", "/x"):
            wrong = replace(message, file=replace(message.file, path=path))
            with pytest.raises(VmsError) as caught:
                await app.storage.catalogue.apply(delivery(wrong))
            assert caught.value.kind is ErrorKind.INVALID
        with pytest.raises(VmsError):
            await app.storage.catalogue.apply(delivery(replace(message, camera_id=CameraId("other"))))


async def test_a_locked_database_makes_the_announcement_come_again(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        events = recorded(app, 1)
        async with app.storage.repository._sessions() as session:
            connection = await session.connection()
            await connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        with closing(sqlite3.connect(tmp_path / "db" / "vms.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(VmsError) as caught:
                await app.announce(events[:1])
        assert caught.value.kind is ErrorKind.UNAVAILABLE
        assert app.storage.catalogue.failed_total == 1
        await app.announce(events)
        assert [row.closed for row in await rows(app)] == [True]


async def test_a_closed_file_is_queued_for_its_checksum(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        events = recorded(app, 1)
        await app.announce(events)
        checksums = app.storage.checksums
        await until(lambda: checksums.written_total == 1)
        assert (app.root / events[0].path).with_name("checksum_10.sha256").exists()
