from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.database import migrated_database
from tests.support.recordings import CAMERA, PARAMS, START_US, fragment, record
from tests.support.storage import DAY_US, facts, storage_app

from vms.common.clock import ManualClock
from vms.common.errors import VmsError
from vms.common.stream import Container
from vms.common.volumes import VolumeSettings
from vms.db.engine import sqlite_url
from vms.format.recording import RecordingWriter
from vms.proto.messages import GapCause
from vms.storage.reconcile import rebuild_catalogue
from vms.storage.repository import CatalogueRepository
from vms.storage.segments import Span

ALWAYS = Span(0, 1 << 60)


async def test_at_start_recent_files_that_nobody_announced_are_catalogued(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        record(app.root, [fragment(0)], Container.MP4)
        record(app.root, [fragment(7200)], Container.MKV)
        report = await app.storage.reconciler.recent()
        assert (report.files, report.added, report.unreadable, report.removed) == (2, 2, 0, 0)
        rows = await app.storage.repository.overlapping(CAMERA, ALWAYS)
        assert [(row.frames, row.closed) for row in rows] == [(25, True), (25, True)]
        assert (await app.storage.reconciler.recent()).added == 0


async def test_at_start_only_today_and_yesterday_are_looked_at(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        record(app.root, [fragment(0)], Container.MP4)
        app.clock.advance(DAY_US / 1e6)
        assert (await app.storage.reconciler.recent()).files == 1
        app.clock.advance(DAY_US / 1e6)
        assert (await app.storage.reconciler.recent()).files == 0
        assert (await app.storage.reconciler.everything()).files == 1


async def test_a_close_that_was_never_announced_is_noticed(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        writer = await app.record([fragment(0)], close=False)
        writer.close()
        await app.storage.reconciler.recent()
        [row] = await app.storage.repository.overlapping(CAMERA, ALWAYS)
        assert row.closed


async def test_a_row_without_its_file_goes_and_leaves_a_gap(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        gone = facts()
        await app.storage.repository.put([gone], now_us=0)
        assert (await app.storage.reconciler.recent()).removed == 1
        [gap] = await app.storage.repository.gaps(CAMERA, ALWAYS)
        assert (gap.cause, gap.start_us, gap.end_us) == (GapCause.UNKNOWN, gone.start_us, gone.end_us)


async def test_rows_of_a_volume_that_is_not_mounted_stay(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        await app.storage.repository.put([facts(), replace(facts(volume="other"))], now_us=0)
        (app.root / "cameras").rmdir()
        assert (await app.storage.reconciler.everything()).removed == 0


async def test_files_that_are_no_recordings_are_counted_and_left_alone(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        media = record(app.root, [fragment(0)], Container.MP4)
        junk = media.with_name("video_11.mp4")
        junk.write_bytes(b"\0" * 4000)
        report = await app.storage.reconciler.recent()
        assert (report.added, report.unreadable) == (1, 1)
        assert junk.exists()


async def test_a_rebuilt_catalogue_equals_the_one_that_was_lost(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        await app.record([fragment(number) for number in range(3)])
        await app.record([fragment(7200)], Container.MKV)
        before = await app.storage.repository.overlapping(CAMERA, ALWAYS)
        root = app.root
    volumes = [VolumeSettings(name="main", path=root)]
    for _ in range(2):
        report = await rebuild_catalogue(volumes, sqlite_url(tmp_path / "new" / "vms.sqlite"), clock=ManualClock())
        assert (report.files, report.added) == (2, 2)
    async with migrated_database(tmp_path / "new") as sessions:
        assert await CatalogueRepository(sessions).overlapping(CAMERA, ALWAYS) == before


async def test_a_rebuild_refuses_a_volume_that_is_not_there(tmp_path: Path) -> None:
    volumes = [VolumeSettings(name="main", path=tmp_path / "usb")]
    with pytest.raises(VmsError, match="mount it"):
        await rebuild_catalogue(volumes, sqlite_url(tmp_path / "vms.sqlite"))


async def test_the_file_that_is_being_written_is_catalogued_as_open(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        writer = RecordingWriter(app.root, CAMERA, container=Container.MP4)
        writer.write(PARAMS, fragment(0), 0.0)
        await app.storage.reconciler.recent()
        [row] = await app.storage.repository.open_segments()
        assert (row.start_us, row.frames) == (START_US, 25)
        writer.close()
