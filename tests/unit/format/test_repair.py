import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.recordings import fragment, index_of, random_fragments, record

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container
from vms.format.check import check
from vms.format.clip import build_clip
from vms.format.files import opened
from vms.format.index import RECORD_SIZE, IndexView
from vms.format.layout import index_path
from vms.format.model import Fragment
from vms.format.reader import SegmentReader
from vms.format.repair import CHECKED_RECORDS, rebuild_index, repair
from vms.format.segment import reopen_segment

both = pytest.mark.parametrize("container", list(Container))


@pytest.fixture(autouse=True)
def _without_syncs() -> Iterator[None]:
    """These tests crash processes, not machines: the many small syncs would only make them slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _fd: None)
        patch.setattr(os, "fdatasync", lambda _fd: None)
        yield


def recorded(directory: str | Path, container: Container, parts: list[Fragment]) -> tuple[Path, bytes, IndexView]:
    path = record(Path(directory), parts, container, close=False)
    return path, path.read_bytes(), IndexView(index_of(path))


@both
def test_a_sound_recording_is_left_alone(tmp_path: Path, container: Container) -> None:
    path = record(tmp_path, [fragment(i) for i in range(3)], container)
    before = path.read_bytes(), path.stat().st_mtime_ns, index_path(path).stat().st_ino
    report = repair(path)
    assert not report.is_changed
    assert report.records == 3
    assert (path.read_bytes(), path.stat().st_mtime_ns, index_path(path).stat().st_ino) == before


@both
def test_a_file_cut_at_any_byte_keeps_every_whole_fragment(tmp_path: Path, container: Container) -> None:
    path, data, records = recorded(tmp_path, container, [fragment(i, frames=2, size=12) for i in range(3)])
    index = index_of(path)
    for size in range(records[0].offset, len(data)):
        path.write_bytes(data[:size])
        index_path(path).write_bytes(index)
        report = repair(path)
        whole = [r for r in records if r.offset + r.size <= size]
        assert list(IndexView(index_of(path))) == whole
        assert index_of(path) == rebuild_index(path)
        assert path.read_bytes() == data[: whole[-1].offset + whole[-1].size if whole else records[0].offset]
        assert (report.dropped_records, report.torn_path) == (3 - len(whole), None)
        assert not repair(path).is_changed


@both
@settings(max_examples=40, deadline=None)
@given(parts=random_fragments(), data=st.data())
def test_media_and_index_cut_anywhere_agree_after_repair(
    container: Container, parts: list[Fragment], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path, media, records = recorded(directory, container, parts)
        index = index_of(path)
        size = data.draw(st.integers(records[0].offset, len(media)))
        path.write_bytes(media[:size])
        index_path(path).write_bytes(index[: data.draw(st.integers(0, len(index)))])
        repair(path)
        assert list(IndexView(index_of(path))) == [r for r in records if r.offset + r.size <= size]
        assert index_of(path) == rebuild_index(path)
        assert list(check(Path(directory))) == []


@both
def test_a_lost_index_is_rebuilt_byte_by_byte(tmp_path: Path, container: Container) -> None:
    path = record(tmp_path, [fragment(i, key=i % 2 == 0) for i in range(40)], container)
    before = index_of(path)
    assert rebuild_index(path) == before
    index_path(path).unlink()
    report = repair(path)
    assert report.is_index_rebuilt
    assert report.added_records == 40
    assert index_of(path) == before


@both
def test_an_index_of_another_file_is_replaced(tmp_path: Path, container: Container) -> None:
    path = record(tmp_path / "a", [fragment(0)], container)
    good = index_of(path)
    other = Container.MKV if container is Container.MP4 else Container.MP4
    index_path(path).write_bytes(index_of(record(tmp_path / "b", [fragment(0)], other)))
    assert repair(path).is_index_rebuilt
    assert index_of(path) == good


@both
def test_a_damaged_record_costs_nothing_but_a_scan(tmp_path: Path, container: Container) -> None:
    path = record(tmp_path, [fragment(i) for i in range(5)], container)
    good = index_of(path)
    damaged = bytearray(good)
    damaged[len(good) - 3 * RECORD_SIZE] ^= 1
    index_path(path).write_bytes(bytes(damaged))
    report = repair(path)
    assert (report.added_records, report.dropped_records) == (3, 3)
    assert index_of(path) == good


@both
def test_a_tail_that_holds_recognisable_fragments_is_moved_not_destroyed(tmp_path: Path, container: Container) -> None:
    path, data, records = recorded(tmp_path, container, [fragment(i) for i in range(4)])
    damaged = bytearray(data)
    damaged[records[1].offset + 20] ^= 1
    path.write_bytes(bytes(damaged))
    report = repair(path)
    assert report.torn_path == path.with_name(path.name + ".torn")
    assert report.torn_path.read_bytes() == bytes(damaged[records[1].offset :])
    assert path.read_bytes() == data[: records[1].offset]
    path.write_bytes(bytes(damaged))
    second = repair(path)
    assert second.torn_path is not None
    assert second.torn_path != report.torn_path


@both
def test_frames_that_a_power_cut_left_as_zeros_are_cut_off(tmp_path: Path, container: Container) -> None:
    path, data, records = recorded(tmp_path, container, [fragment(i) for i in range(3)])
    last = records[-1]
    path.write_bytes(data[: last.offset + 700] + bytes(last.size - 700))
    assert repair(path).records == 2
    assert path.stat().st_size == last.offset


@both
def test_old_damage_is_not_looked_for_when_the_end_is_sound(tmp_path: Path, container: Container) -> None:
    count = CHECKED_RECORDS + 2
    path, data, records = recorded(tmp_path, container, [fragment(i, frames=1) for i in range(count)])
    damaged = bytearray(data)
    damaged[records[0].offset + 20] ^= 1
    path.write_bytes(bytes(damaged))
    assert not repair(path).is_changed


@both
def test_a_closed_file_that_loses_its_end_loses_its_seek_table(tmp_path: Path, container: Container) -> None:
    path = record(tmp_path, [fragment(i) for i in range(3)], container)
    with opened(path, os.O_RDWR) as fd:
        os.ftruncate(fd, path.stat().st_size - 1)
    repair(path)
    with SegmentReader.open(path) as reader:
        assert not reader.is_closed
        assert len(reader.records) == 2


@both
@pytest.mark.parametrize("content", [b"", b"hello", bytes(5000), b"\0\0\0\x18ftypisom" + bytes(500)])
def test_a_file_that_is_not_a_recording_is_untouched(tmp_path: Path, container: Container, content: bytes) -> None:
    path = tmp_path / f"video_10.{container}"
    path.write_bytes(content)
    with pytest.raises(VmsError) as caught:
        repair(path)
    assert caught.value.kind is ErrorKind.CORRUPT
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@both
def test_a_file_that_ends_inside_its_header_is_untouched(tmp_path: Path, container: Container) -> None:
    path, data, records = recorded(tmp_path, container, [fragment(0)])
    path.write_bytes(data[: records[0].offset - 1])
    index = index_of(path)
    with pytest.raises(VmsError, match="not a recording"):
        repair(path)
    assert path.read_bytes() == data[: records[0].offset - 1]
    assert index_of(path) == index


def test_another_suffix_is_not_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("x")
    with pytest.raises(VmsError, match=r"neither \.mp4 nor \.mkv"):
        repair(path)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    for action in (repair, rebuild_index):
        with pytest.raises(VmsError) as caught:
            action(tmp_path / "video_10.mp4")
        assert caught.value.kind is ErrorKind.NOT_FOUND


def test_a_file_that_is_being_written_is_not_repaired(tmp_path: Path) -> None:
    path = record(tmp_path, [fragment(0)], Container.MP4)
    segment = reopen_segment(path, Container.MP4)
    with pytest.raises(VmsError) as caught:
        repair(path)
    assert caught.value.kind is ErrorKind.CONFLICT
    segment.abandon()


@both
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_flipped_bytes_never_raise_anything_but_vms_error(container: Container, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = record(Path(directory), [fragment(i, frames=3) for i in range(3)], container)
        for target in (path, index_path(path)):
            damaged = bytearray(target.read_bytes())
            starts = st.integers(0, 1500) | st.integers(len(damaged) - 1200, len(damaged) - 1)
            for position in data.draw(st.lists(starts, max_size=3)):
                damaged[max(0, min(position, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
            target.write_bytes(bytes(damaged))
        assert len(list(check(Path(directory)))) >= 0
        for action in (read_all, repair, rebuild_index, read_all):
            try:
                action(path)
            except VmsError:
                continue


def read_all(path: Path) -> None:
    with SegmentReader.open(path) as reader:
        for record_ in reader.records:
            reader.samples(record_)
            reader.fragment_as_fmp4(record_, 1)
        build_clip([(reader, range(len(reader.records)))], start_us=0, end_us=2**60)
