import dataclasses
import errno
import itertools
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.recordings import CAMERA, PARAMS, START_US, fragment, index_of, random_fragments, unit

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container
from vms.format.check import check
from vms.format.files import lock_for_writing, opened
from vms.format.index import IndexView
from vms.format.layout import index_path
from vms.format.model import (
    Fragment,
    FragmentWritten,
    RecordingEvent,
    SegmentClosed,
    SegmentOpened,
    us_from_90k,
)
from vms.format.reader import SegmentReader
from vms.format.recording import RecordingWriter
from vms.format.repair import rebuild_index

both = pytest.mark.parametrize("container", list(Container))
OTHER_PARAMS = dataclasses.replace(PARAMS, width=640, height=480)


def writer(root: Path, container: Container = Container.MP4, rotation_s: int = 3600) -> RecordingWriter:
    return RecordingWriter(root, CAMERA, container=container, rotation_s=rotation_s)


def write(target: RecordingWriter, *parts: Fragment) -> list[RecordingEvent]:
    return [event for part in parts for event in target.write(PARAMS, part, 0.0)]


def kill(target: RecordingWriter) -> None:
    """What the kernel does with a killed process: its descriptors are closed, nothing else happens."""
    if target._segment is not None:
        target._segment.abandon()


def media_files(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("video_*") if p.is_file())


def payloads(root: Path) -> list[bytes]:
    """The frames of all files in order of path."""
    found = []
    for path in media_files(root):
        with SegmentReader.open(path) as reader:
            data = path.read_bytes()
            found += [data[s.offset : s.offset + s.size] for r in reader.records for s in reader.samples(r)]
    return found


def sent(parts: list[Fragment]) -> list[bytes]:
    return [u.payload for part in parts for u in part.units]


@both
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_frame_is_in_exactly_one_place_and_the_index_can_be_rebuilt(
    tmp_path_factory: pytest.TempPathFactory, container: Container, data: st.DataObject
) -> None:
    parts = data.draw(random_fragments(max_fragments=12))
    root = tmp_path_factory.mktemp("root")
    target = writer(root, container, rotation_s=data.draw(st.sampled_from([1, 2, 3600])))
    events = write(target, *parts) + target.close()
    assert payloads(root) == sent(parts)
    assert target.dropped_frames == 0
    assert list(check(root)) == []
    for path in media_files(root):
        assert rebuild_index(path) == index_of(path)
    records = [event.record for event in events if isinstance(event, FragmentWritten)]
    assert records == [r for path in media_files(root) for r in IndexView(index_of(path))]


def test_events_tell_the_story_in_order(tmp_path: Path) -> None:
    target = writer(tmp_path)
    events = write(target, fragment(0), fragment(1)) + target.close()
    opened, first, second, closed = events
    assert [type(e) for e in events] == [SegmentOpened, FragmentWritten, FragmentWritten, SegmentClosed]
    assert isinstance(first, FragmentWritten)
    assert opened.path == first.path == closed.path
    assert str(opened.path) == "cameras/cam_0123456789/2026-03-01/video_10.mp4"
    assert (first.frames, second.frames, closed.frames) == (25, 50, 50)
    assert (closed.start_us, closed.end_us) == (START_US, START_US + 2_000_000)
    assert closed.size_bytes == (tmp_path / closed.path).stat().st_size
    assert (closed.camera_id, closed.container, closed.params) == (CAMERA, Container.MP4, PARAMS)
    assert first.record == IndexView(index_of(tmp_path / closed.path))[0]


@both
def test_a_new_hour_begins_a_new_file_at_the_first_keyframe(tmp_path: Path, container: Container) -> None:
    target = writer(tmp_path, container)
    late = START_US + 3_599_500_000
    parts = [
        fragment(0, wall_us=late),
        fragment(1, key=False, wall_us=late + 1_000_000),
        fragment(2, wall_us=late + 2_000_000),
    ]
    events = write(target, *parts)
    target.close()
    assert [p.name for p in media_files(tmp_path)] == [f"video_10.{container}", f"video_11.{container}"]
    assert payloads(tmp_path) == sent(parts)
    assert [type(e) for e in events] == [
        SegmentOpened, FragmentWritten, FragmentWritten, SegmentClosed, SegmentOpened, FragmentWritten,
    ]  # fmt: skip


def test_periods_shorter_than_an_hour_number_the_files(tmp_path: Path) -> None:
    target = writer(tmp_path, rotation_s=20)
    parts = [fragment(i) for i in range(60)]
    write(target, *parts)
    target.close()
    assert [p.name for p in media_files(tmp_path)] == ["video_10.mp4", "video_10_1.mp4", "video_10_2.mp4"]
    assert payloads(tmp_path) == sent(parts)


def test_the_date_changes_at_midnight_utc(tmp_path: Path) -> None:
    target = writer(tmp_path)
    midnight = START_US + 14 * 3_600_000_000
    write(target, fragment(0, wall_us=midnight - 1), fragment(1, wall_us=midnight))
    target.close()
    assert [p.parent.name for p in media_files(tmp_path)] == ["2026-03-01", "2026-03-02"]


def test_frames_before_the_first_keyframe_are_counted_not_written(tmp_path: Path) -> None:
    target = writer(tmp_path)
    assert write(target, fragment(0, key=False)) == []
    assert target.dropped_frames == 25
    assert media_files(tmp_path) == []


def test_nothing_happens_without_frames(tmp_path: Path) -> None:
    target = writer(tmp_path)
    assert write(target, Fragment([], 0, START_US)) == []
    assert target.close() == []


def test_new_parameters_begin_a_new_file_at_a_keyframe(tmp_path: Path) -> None:
    target = writer(tmp_path)
    write(target, fragment(0))
    assert target.write(OTHER_PARAMS, fragment(1, key=False), 0.0) == []
    target.write(OTHER_PARAMS, fragment(2), 0.0)
    target.close()
    assert [p.name for p in media_files(tmp_path)] == ["video_10.mp4", "video_10_1.mp4"]
    assert target.dropped_frames == 25
    with SegmentReader.open(media_files(tmp_path)[1]) as reader:
        assert reader.params == OTHER_PARAMS


def test_equal_parameters_in_another_object_change_nothing(tmp_path: Path) -> None:
    target = writer(tmp_path)
    write(target, fragment(0))
    target.write(dataclasses.replace(PARAMS), fragment(1), 0.0)
    assert len(media_files(tmp_path)) == 1
    kill(target)


def test_another_container_begins_a_file_that_shares_no_index(tmp_path: Path) -> None:
    for container in Container:
        target = writer(tmp_path, container)
        write(target, fragment(0))
        target.close()
    assert [p.name for p in media_files(tmp_path)] == ["video_10.mp4", "video_10_1.mkv"]
    assert len(list(tmp_path.rglob("*.vms-idx"))) == 2


def test_a_clock_that_steps_back_begins_a_new_file_at_the_keyframe(tmp_path: Path) -> None:
    target = writer(tmp_path)
    back = START_US + 1_000_000
    parts = [
        fragment(0, wall_us=START_US + 60_000_000),
        fragment(1, wall_us=START_US + 61_000_000),
        fragment(2, key=False, wall_us=back),
        fragment(3, wall_us=back + 1_000_000),
    ]
    write(target, *parts)
    target.close()
    assert payloads(tmp_path) == sent(parts), "no frame is lost for the step"
    first, second = (IndexView(index_of(p)) for p in media_files(tmp_path))
    assert [r.wall_start_us - START_US for r in first] == [60_000_000, 61_000_000, 61_000_000]
    assert [r.wall_start_us - START_US for r in second] == [2_000_000]


def test_a_clock_that_steps_back_an_hour_overwrites_nothing(tmp_path: Path) -> None:
    target = writer(tmp_path)
    parts = [fragment(0, wall_us=START_US - 10), fragment(1, wall_us=START_US + 10), fragment(2, wall_us=START_US - 5)]
    write(target, *parts, fragment(3, wall_us=START_US + 20))
    target.close()
    names = ["video_09.mp4", "video_09_1.mp4", "video_10.mp4", "video_10_1.mp4"]
    assert [p.name for p in media_files(tmp_path)] == names


@both
def test_a_restart_within_the_hour_goes_on_in_the_same_file(tmp_path: Path, container: Container) -> None:
    first = writer(tmp_path, container)
    write(first, fragment(0), fragment(1))
    kill(first)
    with (media_files(tmp_path)[0]).open("ab") as file:
        file.write(b"torn")
    second = writer(tmp_path, container)
    events = write(second, fragment(0, wall_us=START_US + 5_000_000)) + second.close()
    assert [type(e) for e in events] == [SegmentOpened, FragmentWritten, SegmentClosed]
    assert [e.frames for e in events] == [50, 75, 75]
    (path,) = media_files(tmp_path)
    assert index_of(path) == rebuild_index(path)
    assert IndexView(index_of(path))[-1].media_start_90k == 5 * 90_000
    assert list(check(tmp_path)) == []


def test_a_restart_in_a_later_hour_completes_what_was_left(tmp_path: Path) -> None:
    first = writer(tmp_path)
    write(first, fragment(0))
    kill(first)
    second = writer(tmp_path)
    events = write(second, fragment(0, wall_us=START_US + 7_200_000_000))
    kill(second)
    assert [type(e) for e in events] == [SegmentClosed, SegmentOpened, FragmentWritten]
    assert events[0].path.name == "video_10.mp4"
    assert (events[0].frames, events[0].end_us) == (25, START_US + 1_000_000)
    with SegmentReader.open(media_files(tmp_path)[0]) as reader:
        assert reader.is_closed


def test_a_restart_with_a_clock_that_stepped_back_begins_a_new_file(tmp_path: Path) -> None:
    first = writer(tmp_path)
    write(first, fragment(0, wall_us=START_US + 60_000_000))
    kill(first)
    second = writer(tmp_path)
    write(second, fragment(0))
    second.close()
    assert [p.name for p in media_files(tmp_path)] == ["video_10.mp4", "video_10_1.mp4"]
    assert list(check(tmp_path)) == []


def test_a_file_in_the_way_that_is_no_recording_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "cameras" / CAMERA / "2026-03-01" / "video_10.mp4"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"holiday")
    target = writer(tmp_path)
    events = write(target, fragment(0))
    kill(target)
    assert path.read_bytes() == b"holiday"
    assert events[0].path.name == "video_10_1.mp4"


def test_what_a_crash_left_of_an_unborn_file_is_removed(tmp_path: Path) -> None:
    directory = tmp_path / "cameras" / CAMERA / "2026-03-01"
    directory.mkdir(parents=True)
    for name in (".video_10.mp4.new", "index_10.vms-idx", ".index_09.vms-idx.new"):
        (directory / name).write_bytes(b"torn")
    target = writer(tmp_path)
    write(target, fragment(0))
    target.close()
    assert sorted(p.name for p in directory.iterdir()) == ["index_10.vms-idx", "video_10.mp4"]
    assert list(check(tmp_path)) == []


def test_a_file_that_another_recorder_is_just_making_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "cameras" / CAMERA / "2026-03-01" / ".video_10.mp4.new"
    path.parent.mkdir(parents=True)
    path.touch()
    with opened(path, os.O_RDWR) as fd:
        assert lock_for_writing(fd)
        target = writer(tmp_path)
        write(target, fragment(0))
        kill(target)
        assert path.exists()


def test_two_recorders_of_one_camera_never_share_a_file(tmp_path: Path) -> None:
    first, second = writer(tmp_path), writer(tmp_path)
    write(first, fragment(0))
    write(second, fragment(1))
    first.close()
    second.close()
    assert len(media_files(tmp_path)) == 2
    assert list(check(tmp_path)) == []


def test_writing_goes_on_after_close(tmp_path: Path) -> None:
    target = writer(tmp_path)
    write(target, fragment(0))
    target.close()
    write(target, fragment(1))
    target.close()
    (path,) = media_files(tmp_path)
    assert len(IndexView(index_of(path))) == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("failing_call", [1, 2])
def test_after_an_error_the_next_keyframe_goes_on_in_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, failing_call: int
) -> None:
    target = writer(tmp_path)
    write(target, fragment(0))
    calls = itertools.count(1)
    real = os.pwritev

    def failing(fd: int, buffers: Any, offset: int) -> int:
        if next(calls) == failing_call:
            real(fd, [bytes(buffers[0])[:30]], offset)
            raise OSError(number, os.strerror(number))
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "pwritev", failing)
    with pytest.raises(VmsError) as caught:
        write(target, fragment(1))
    assert caught.value.kind is ErrorKind.STORAGE
    assert list(check(tmp_path)) == []
    monkeypatch.setattr(os, "pwritev", real)
    write(target, fragment(2, key=False))
    assert target.dropped_frames == 25, "nobody could decode them without the keyframe that was lost"
    write(target, fragment(3))
    target.close()
    (path,) = media_files(tmp_path)
    assert payloads(tmp_path) == sent([fragment(0), fragment(3)])
    assert IndexView(index_of(path))[1].media_start_90k == 3 * 90_000


@both
@pytest.mark.parametrize("keyframes", [True, False])
@pytest.mark.parametrize("can_cut_back", [True, False])
@pytest.mark.parametrize("failing_call", [1, 2])
def test_a_fragment_that_is_tried_again_after_an_error_goes_on_as_if_nothing_had_been(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    container: Container,
    keyframes: bool,
    can_cut_back: bool,
    failing_call: int,
) -> None:
    calls = itertools.count(1)
    real = os.pwritev

    def failing(fd: int, buffers: Any, offset: int) -> int:
        if next(calls) == failing_call:
            real(fd, [bytes(buffers[0])[:30]], offset)
            raise OSError(errno.ENOSPC, "full")
        return real(fd, buffers, offset)

    def read_only(*_args: Any) -> None:
        raise OSError(errno.EROFS, "read-only")

    # In a GOP of three fragments, the two behind the keyframe's must not be taken for undecodable.
    parts = [fragment(0), fragment(1, key=keyframes), fragment(2, key=keyframes)]
    target = writer(tmp_path, container)
    write(target, parts[0])
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", failing)
        if not can_cut_back:
            patch.setattr(os, "ftruncate", read_only)
        with pytest.raises(VmsError):
            write(target, parts[1])
    if not can_cut_back:
        with monkeypatch.context() as patch:
            patch.setattr("vms.format.recording.repair", read_only)
            with pytest.raises(VmsError, match="read-only"):
                write(target, parts[1])
    write(target, *parts[1:])
    target.close()
    (path,) = media_files(tmp_path)
    assert payloads(tmp_path) == sent(parts)
    assert target.dropped_frames == 0
    assert [record.flags & 2 for record in IndexView(index_of(path))] == [0, 0, 0]
    assert list(check(tmp_path)) == []


def test_a_file_that_lost_its_end_is_gone_on_with_at_the_next_keyframe_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(*_args: Any) -> None:
        raise OSError(errno.EIO, "dead")

    target = writer(tmp_path)
    write(target, fragment(0), fragment(1, key=False))
    refused = fragment(2, key=False)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", dead)
        patch.setattr(os, "ftruncate", dead)
        with pytest.raises(VmsError):
            write(target, refused)
    (path,) = media_files(tmp_path)
    os.truncate(path, path.stat().st_size - 1)  # as a power cut of the disk does
    write(target, refused, fragment(3, key=False), fragment(4))
    target.close()
    assert payloads(tmp_path) == sent([fragment(0), fragment(4)])
    assert target.dropped_frames == 50
    assert list(check(tmp_path)) == []


@pytest.mark.parametrize("key", [True, False])
def test_a_fragment_whose_sync_failed_is_not_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, key: bool
) -> None:
    def dead(_fd: int) -> None:
        raise OSError(errno.EIO, "dead")

    parts = [fragment(0), fragment(1, key=key), fragment(2, key=key)]
    target = writer(tmp_path)
    write(target, parts[0])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", dead)
        with pytest.raises(VmsError, match="I/O error"):
            target.write(PARAMS, parts[1], 100.0)
    events = target.write(PARAMS, parts[1], 101.0)
    assert [type(event) for event in events] == [FragmentWritten]
    target.write(PARAMS, parts[2], 102.0)
    target.close()
    assert payloads(tmp_path) == sent(parts)
    assert list(check(tmp_path)) == []


def test_a_disk_that_stays_full_costs_no_repair_and_no_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwritev

    def full(fd: int, buffers: Any, offset: int) -> int:
        if offset + sum(map(len, buffers)) > os.fstat(fd).st_size:
            raise OSError(errno.ENOSPC, "full")
        return real(fd, buffers, offset)

    def never(*_args: Any) -> None:
        raise AssertionError("the file was in order")

    target = writer(tmp_path)
    write(target, fragment(0))
    monkeypatch.setattr("vms.format.recording.repair", never)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", full)
        for number in range(1, 4):
            with pytest.raises(VmsError, match="disk is full"):
                write(target, fragment(number))
        for number in range(3600, 3603):
            with pytest.raises(VmsError, match="disk is full"):
                write(target, fragment(number))
    write(target, fragment(3603))
    target.close()
    assert payloads(tmp_path) == sent([fragment(0), fragment(3603)])
    assert list(check(tmp_path)) == []


def test_an_error_that_even_truncation_meets_is_repaired_by_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(*_args: Any) -> int:
        raise OSError(errno.EIO, "dead")

    def half(fd: int, buffers: Any, offset: int) -> int:
        os.pwrite(fd, bytes(buffers[0])[:30], offset)
        raise OSError(errno.EIO, "dead")

    target = writer(tmp_path)
    write(target, fragment(0))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", half)
        patch.setattr(os, "ftruncate", dead)
        with pytest.raises(VmsError, match="I/O error"):
            write(target, fragment(1))
    write(target, fragment(2))
    target.close()
    assert payloads(tmp_path) == sent([fragment(0), fragment(2)])
    assert list(check(tmp_path)) == []


def test_events_before_an_error_are_told_with_the_next_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: Any, **_options: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    target = writer(tmp_path)
    write(target, fragment(0))
    with monkeypatch.context() as patch:
        patch.setattr("vms.format.recording.create_segment", full)
        with pytest.raises(VmsError, match="disk is full"):
            write(target, fragment(1, wall_us=START_US + 3_600_000_000))
    events = write(target, fragment(2, wall_us=START_US + 3_601_000_000))
    kill(target)
    assert isinstance(events[0], SegmentClosed)
    assert events[0].path.name == "video_10.mp4"
    assert isinstance(events[-1], FragmentWritten)
    assert events[-1].path.name == "video_11.mp4"


def test_a_root_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "cameras").write_bytes(b"a file, not a directory")
    with pytest.raises(VmsError) as caught:
        write(writer(tmp_path), fragment(0))
    assert caught.value.kind is ErrorKind.STORAGE
    assert "\n" not in caught.value.message


def test_times_that_fit_nowhere_are_refused_and_harm_nothing(tmp_path: Path) -> None:
    target = writer(tmp_path)
    write(target, fragment(0))
    with pytest.raises(VmsError) as caught:
        write(target, Fragment([unit(30, key=True), unit(25)], 3600, START_US + 1_000_000))
    assert caught.value.kind is ErrorKind.INVALID
    write(target, fragment(1))
    target.close()
    assert payloads(tmp_path) == sent([fragment(0), fragment(1)])


def test_the_media_is_synced_before_the_index_and_no_more_often_than_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().name))
    target = writer(tmp_path)
    target.write(PARAMS, fragment(0), 100.0)
    synced.clear()
    target.write(PARAMS, fragment(1), 105.0)
    target.sync(109.9)
    assert synced == []
    target.write(PARAMS, fragment(2), 110.0)
    assert synced == ["video_10.mp4", "index_10.vms-idx"]
    target.sync(130.0)
    assert len(synced) == 2, "nothing was written since"
    target.write(PARAMS, fragment(3), 115.0)
    target.sync(120.0)
    assert len(synced) == 4
    kill(target)


def test_a_sync_that_fails_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dead(_fd: int) -> None:
        raise OSError(errno.EIO, "dead")

    target = writer(tmp_path)
    write(target, fragment(0))
    monkeypatch.setattr(os, "fdatasync", dead)
    with pytest.raises(VmsError, match="I/O error"):
        target.sync(100.0)
    assert target.close() == []


def test_gaps_on_the_media_timeline_are_those_of_wall_time(tmp_path: Path) -> None:
    target = writer(tmp_path)
    write(target, fragment(0))
    for seconds in (10, 60, 3000):
        part = fragment(0, wall_us=START_US + seconds * 1_000_000)
        part.flags |= 2
        write(target, part)
    target.close()
    for record in IndexView.load(index_path(media_files(tmp_path)[0])):
        assert us_from_90k(record.media_start_90k) == record.wall_start_us - START_US
