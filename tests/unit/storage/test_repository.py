from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.database import migrated_database
from tests.support.recordings import CAMERA, START_US
from tests.support.storage import HOUR_US, facts

from vms.common.types import CameraId
from vms.proto.messages import Gap, GapCause
from vms.storage.repository import CatalogueRepository
from vms.storage.segments import SegmentFacts, Span
from vms.web.paging import Cursor

OPEN = facts(closed=False, size_bytes=1000, end_us=START_US + 10, frames=10, fragments=1)
WHOLE_DAY = Span(START_US, START_US + 24 * HOUR_US)


def hour(number: int, **changes: object) -> SegmentFacts:
    start_us = START_US + number * HOUR_US
    path = f"cameras/{CAMERA}/2026-03-01/video_{10 + number:02}.mp4"
    return facts(path=path, start_us=start_us, end_us=start_us + HOUR_US, **changes)


@pytest.fixture
async def repository(tmp_path: Path) -> AsyncIterator[CatalogueRepository]:
    async with migrated_database(tmp_path) as sessions:
        yield CatalogueRepository(sessions)


async def test_a_report_twice_is_a_row_once(repository: CatalogueRepository) -> None:
    for _ in range(2):
        await repository.put([OPEN], now_us=1)
    assert await repository.overlapping(CAMERA, WHOLE_DAY) == [OPEN]


async def test_an_open_file_only_grows(repository: CatalogueRepository) -> None:
    grown = replace(OPEN, size_bytes=2000, end_us=START_US + 20, frames=20, fragments=2)
    await repository.put([grown], now_us=1)
    await repository.put([OPEN], now_us=2)
    assert await repository.overlapping(CAMERA, WHOLE_DAY) == [grown]


async def test_a_late_progress_does_not_open_a_closed_file(repository: CatalogueRepository) -> None:
    closed = replace(OPEN, closed=True, size_bytes=3000)
    await repository.put([closed], now_us=1)
    for late in (OPEN, replace(OPEN, size_bytes=3000)):
        await repository.put([late], now_us=2)
    assert await repository.find(CAMERA, OPEN.id) == closed


async def test_a_file_that_its_recorder_goes_on_with_is_open_again(repository: CatalogueRepository) -> None:
    closed = replace(OPEN, closed=True)
    await repository.put([closed], now_us=1)
    await repository.put([OPEN], now_us=2, reopened=True)
    assert await repository.find(CAMERA, OPEN.id) == OPEN


async def test_what_a_close_says_is_final_even_when_it_is_less(repository: CatalogueRepository) -> None:
    await repository.put([replace(OPEN, size_bytes=9000)], now_us=1)
    torn = replace(OPEN, closed=True, size_bytes=8000)
    await repository.put([torn], now_us=2)
    assert await repository.find(CAMERA, OPEN.id) == torn


async def test_overlapping_finds_what_touches_the_span_and_open_files_whatever_their_end(
    repository: CatalogueRepository,
) -> None:
    await repository.put([hour(0), hour(1), hour(2), replace(hour(3), closed=False)], now_us=1)

    async def found(start_us: int, end_us: int) -> list[str]:
        return [row.path[-6:-4] for row in await repository.overlapping(CAMERA, Span(start_us, end_us))]

    middle = START_US + HOUR_US
    assert await found(middle, middle + 1) == ["11"]
    assert await found(middle - 1, middle + 1) == ["10", "11"]
    assert await found(START_US + 10 * HOUR_US, START_US + 11 * HOUR_US) == ["13"]
    assert await found(0, START_US) == []
    assert await repository.overlapping(CameraId("other"), WHOLE_DAY) == []


async def test_pages_hold_each_file_once(repository: CatalogueRepository) -> None:
    await repository.put([hour(number) for number in range(7)], now_us=1)
    seen: list[str] = []
    after = None
    while rows := await repository.page(CAMERA, start_us=None, end_us=None, limit=3, after=after):
        seen += [row.path for row in rows]
        after = Cursor(rows[-1].start_us, rows[-1].id)
    assert seen == [hour(number).path for number in range(7)]


async def test_candidates_for_deletion_are_closed_and_oldest_first(repository: CatalogueRepository) -> None:
    await repository.put([hour(2), hour(0), replace(hour(1), closed=False)], now_us=1)
    assert [row.start_us for row in await repository.oldest_closed("main", limit=9)] == [
        START_US,
        START_US + 2 * HOUR_US,
    ]
    assert await repository.oldest_closed("fast", limit=9) == []
    assert await repository.closed_before(CAMERA, START_US + HOUR_US, limit=9) == []
    assert len(await repository.closed_before(CAMERA, START_US + HOUR_US + 1, limit=9)) == 1
    assert [row.start_us for row in await repository.open_segments()] == [START_US + HOUR_US]


async def test_a_gap_is_stored_once_and_only_extended(repository: CatalogueRepository) -> None:
    gap = Gap(CAMERA, START_US, START_US + 10, GapCause.NETWORK, "lost")
    for end_us in (START_US + 10, START_US + 30, START_US + 20):
        await repository.put_gap(replace(gap, end_us=end_us))
    assert await repository.gaps(CAMERA, WHOLE_DAY) == [replace(gap, end_us=START_US + 30)]


async def test_removing_hour_after_hour_leaves_one_growing_gap(repository: CatalogueRepository) -> None:
    await repository.put([hour(0), hour(1), hour(5)], now_us=1)
    for number in (0, 1, 5):
        row = hour(number)
        await repository.remove(row, Gap(CAMERA, row.start_us, row.end_us, GapCause.RETENTION, "old"))
    gaps = await repository.gaps(CAMERA, WHOLE_DAY)
    assert [(gap.start_us, gap.end_us) for gap in gaps] == [
        (START_US, START_US + 2 * HOUR_US),
        (START_US + 5 * HOUR_US, START_US + 6 * HOUR_US),
    ]
    assert await repository.overlapping(CAMERA, WHOLE_DAY) == []


async def test_totals_count_files_and_bytes_by_volume(repository: CatalogueRepository) -> None:
    await repository.put([hour(0), hour(1), replace(hour(2), id="x", volume="fast")], now_us=1)
    assert await repository.totals() == {"main": (2, 2_000_000), "fast": (1, 1_000_000)}
    assert await repository.cameras() == [CAMERA]
    assert await repository.closed_among([hour(0).id, "nothing"]) == {hour(0).id}
    assert [row.id for row in await repository.places(after="", limit=2)] == sorted([hour(0).id, hour(1).id])
