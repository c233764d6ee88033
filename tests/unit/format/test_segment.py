import errno
import os
from pathlib import Path
from typing import Any

import pytest
from tests.support.recordings import CAMERA, PARAMS, START_US, fragment, index_of, record, unit

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container
from vms.format.files import temporary_path
from vms.format.index import RECORD_SIZE, IndexView
from vms.format.layout import RecordingPath, index_path
from vms.format.model import Fragment, IndexRecord
from vms.format.repair import rebuild_index
from vms.format.segment import Segment, create_segment, reopen_segment

PLACE = RecordingPath(CAMERA, "2026-03-01", 10, 0, Container.MP4)
DISCONTINUITY = 2


def create(root: Path, part: Fragment | None = None) -> tuple[Segment, IndexRecord]:
    return create_segment(root, PLACE, PARAMS, part or fragment(0), rotation_s=3600)


def test_a_file_has_its_name_only_with_a_whole_fragment_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    real = os.fdatasync

    def look(fd: int) -> None:
        seen.append((tmp_path / PLACE.media).exists())
        real(fd)

    monkeypatch.setattr(os, "fdatasync", look)
    segment, first = create(tmp_path)
    assert seen == [False]
    assert list(IndexView.load(tmp_path / PLACE.index)) == [first]
    segment.abandon()
    assert rebuild_index(tmp_path / PLACE.media) == index_of(tmp_path / PLACE.media)


@pytest.mark.parametrize("failing_call", [1, 2, 3, 4])
def test_a_file_that_cannot_be_begun_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_call: int
) -> None:
    calls = 0
    real = os.pwritev

    def failing(fd: int, buffers: Any, offset: int) -> int:
        nonlocal calls
        calls += 1
        if calls == failing_call:
            real(fd, [b"torn"], offset)
            raise OSError(errno.ENOSPC, "full")
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "pwritev", failing)
    with pytest.raises(OSError, match="full"):
        create(tmp_path)
    assert list((tmp_path / PLACE.media).parent.iterdir()) == []


def test_a_first_fragment_with_impossible_times_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(VmsError, match="not in order"):
        create(tmp_path, Fragment([unit(3, key=True), unit(1)], 3600, START_US))
    assert list((tmp_path / PLACE.media).parent.iterdir()) == []


def test_an_index_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / PLACE.index
    path.parent.mkdir(parents=True)
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        create(tmp_path)
    assert path.read_bytes() == b"precious"
    assert not temporary_path(tmp_path / PLACE.media).exists()


@pytest.mark.parametrize("failing_call", [1, 2])
def test_a_failed_append_leaves_both_files_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_call: int
) -> None:
    segment, _ = create(tmp_path)
    media, index = (tmp_path / PLACE.media).read_bytes(), (tmp_path / PLACE.index).read_bytes()
    calls = 0
    real = os.pwritev

    def short_then_full(fd: int, buffers: Any, offset: int) -> int:
        nonlocal calls
        calls += 1
        if calls < failing_call:
            return real(fd, buffers, offset)
        if calls == failing_call:
            return real(fd, [bytes(buffers[0])[:20]], offset)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwritev", short_then_full)
    with pytest.raises(OSError, match="full"):
        segment.append(fragment(1))
    segment.abandon()
    assert (tmp_path / PLACE.media).read_bytes() == media
    assert (tmp_path / PLACE.index).read_bytes() == index


def test_media_time_follows_the_cameras_clock_within_a_session(tmp_path: Path) -> None:
    segment, _ = create(tmp_path)
    late = fragment(1, wall_us=START_US + 1_500_000)
    assert segment.append(late).media_start_90k == 90_000
    segment.abandon()


def test_media_time_jumps_by_wall_time_at_a_discontinuity(tmp_path: Path) -> None:
    segment, _ = create(tmp_path)
    part = fragment(7, wall_us=START_US + 60_000_000)
    part.flags |= DISCONTINUITY
    assert segment.append(part).media_start_90k == 60 * 90_000
    following = fragment(8, wall_us=START_US + 61_200_000)
    assert segment.append(following).media_start_90k == 61 * 90_000
    segment.abandon()


def test_media_time_never_runs_back_when_wall_time_does(tmp_path: Path) -> None:
    segment, _ = create(tmp_path)
    part = fragment(1, wall_us=START_US + 100_000)
    part.flags |= DISCONTINUITY
    assert segment.append(part).media_start_90k == 90_000
    segment.abandon()


def test_a_session_that_restarts_unannounced_is_a_discontinuity(tmp_path: Path) -> None:
    segment, _ = create(tmp_path, fragment(5))
    again = segment.append(fragment(0, wall_us=START_US + 30_000_000))
    assert again.flags & DISCONTINUITY
    assert again.media_start_90k >= 90_000
    segment.abandon()


def test_wall_time_in_the_index_never_runs_back(tmp_path: Path) -> None:
    segment, _ = create(tmp_path)
    assert segment.append(fragment(1, wall_us=START_US - 500_000)).wall_start_us == START_US
    segment.abandon()


@pytest.mark.parametrize("container", list(Container))
def test_a_reopened_file_goes_on_where_it_ended(tmp_path: Path, container: Container) -> None:
    path = record(tmp_path, [fragment(0), fragment(1)], container)
    segment = reopen_segment(path, container)
    assert segment.header.is_closed
    segment.unseal()
    added = segment.append(fragment(0, wall_us=START_US + 10_000_000))
    assert (added.media_start_90k, added.flags) == (10 * 90_000, 1 | DISCONTINUITY)
    segment.close()
    assert segment.frames == 75
    assert rebuild_index(path) == index_of(path)
    assert len(IndexView.load(index_path(path))) == 3


def test_a_file_is_not_opened_for_writing_twice(tmp_path: Path) -> None:
    segment, _ = create(tmp_path)
    with pytest.raises(VmsError) as caught:
        reopen_segment(tmp_path / PLACE.media, Container.MP4)
    assert caught.value.kind is ErrorKind.CONFLICT
    segment.abandon()


def test_a_file_without_a_fragment_is_not_appended_to(tmp_path: Path) -> None:
    path = record(tmp_path, [fragment(0)], Container.MP4)
    data = index_of(path)
    index_path(path).write_bytes(data[:-RECORD_SIZE])
    with pytest.raises(VmsError, match="no fragment"):
        reopen_segment(path, Container.MP4)


def test_a_damaged_index_does_not_stop_a_file_from_being_closed(tmp_path: Path) -> None:
    segment, _ = create(tmp_path)
    (tmp_path / PLACE.index).write_bytes(b"?")
    segment.close()
    assert not has_seek_table(tmp_path / PLACE.media)


def has_seek_table(path: Path) -> bool:
    return b"sidx" in path.read_bytes()
