import os
from pathlib import Path

import pytest
from tests.support.recordings import CAMERA, PARAMS, fragment, index_of, record

from vms.common.stream import Container
from vms.format import check as check_module
from vms.format.check import ProblemKind, check, check_recording
from vms.format.files import lock_for_writing, opened
from vms.format.index import RECORD_SIZE, IndexView
from vms.format.layout import index_path
from vms.format.recording import RecordingWriter
from vms.format.repair import repair

both = pytest.mark.parametrize("container", list(Container))


def kinds(root: Path) -> list[ProblemKind]:
    return [problem.kind for problem in check(root)]


@pytest.fixture(params=list(Container))
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return record(tmp_path, [fragment(i) for i in range(3)], request.param)


def test_a_sound_tree_has_no_problems(path: Path, tmp_path: Path) -> None:
    assert path.exists()
    assert kinds(tmp_path) == []


def test_an_empty_or_missing_root_has_no_problems(tmp_path: Path) -> None:
    assert kinds(tmp_path / "nothing") == []


def test_foreign_files_and_directories_are_none_of_our_business(path: Path, tmp_path: Path) -> None:
    (path.parent / "events_10.parquet").touch()
    (path.parent / ".video_10_1.mp4.new").touch()
    (tmp_path / "cameras" / "README").touch()
    (tmp_path / "cameras" / CAMERA / "notes").mkdir()
    assert kinds(tmp_path) == []


def test_a_tail_behind_the_index_is_found_and_repairable(path: Path, tmp_path: Path) -> None:
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"torn")
    (problem,) = check(tmp_path)
    assert (problem.kind, problem.path, problem.offset) == (ProblemKind.UNINDEXED_TAIL, path, size)
    assert problem.is_repairable
    repair(path)
    assert kinds(tmp_path) == []


def test_a_file_that_is_being_written_may_have_a_tail(path: Path, tmp_path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"torn")
    with opened(path, os.O_RDWR) as fd:
        assert lock_for_writing(fd)
        assert kinds(tmp_path) == []
    assert kinds(tmp_path) == [ProblemKind.UNINDEXED_TAIL]


def test_a_file_that_grows_while_it_is_looked_at_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RecordingWriter(tmp_path, CAMERA, container=Container.MP4)
    writer.write(PARAMS, fragment(0), 0.0)
    number = 1

    def grow_and_close(_fd: int) -> bool:
        """The recorder writes and lets go between the look at the sizes and the look at the lock."""
        nonlocal number
        writer.write(PARAMS, fragment(number), 0.0)
        writer.close()
        number += 1
        return False

    real_fstat = os.fstat

    def grown(fd: int) -> os.stat_result:
        if number == 1:
            writer.write(PARAMS, fragment(1), 0.0)
        return real_fstat(fd)

    monkeypatch.setattr(check_module, "is_being_written", grow_and_close)
    monkeypatch.setattr(os, "fstat", grown)
    assert kinds(tmp_path) == []
    assert number == 2


def test_an_index_record_that_is_cut_is_found(path: Path, tmp_path: Path) -> None:
    with opened(index_path(path), os.O_RDWR) as fd:
        os.ftruncate(fd, index_path(path).stat().st_size - 1)
    assert kinds(tmp_path) == [ProblemKind.UNINDEXED_TAIL]
    repair(path)
    index_path(path).write_bytes(index_of(path) + b"x")
    assert kinds(tmp_path) == [ProblemKind.INDEX_DAMAGED]
    repair(path)
    assert kinds(tmp_path) == []


def test_an_index_beyond_the_file_is_found(path: Path, tmp_path: Path) -> None:
    with opened(path, os.O_RDWR) as fd:
        os.ftruncate(fd, path.stat().st_size - 10)
    assert kinds(tmp_path) == [ProblemKind.INDEX_BEYOND_FILE]
    repair(path)
    assert kinds(tmp_path) == []


def test_a_missing_index_is_found(path: Path, tmp_path: Path) -> None:
    index_path(path).unlink()
    assert kinds(tmp_path) == [ProblemKind.INDEX_MISSING]


@pytest.mark.parametrize("content", [b"", b"garbage", b'{"format":"vms-idx","version":1}\n'])
def test_an_index_that_is_not_this_files_is_found(path: Path, tmp_path: Path, content: bytes) -> None:
    index_path(path).write_bytes(content)
    assert kinds(tmp_path) == [ProblemKind.INDEX_DAMAGED]


def test_a_damaged_or_misplaced_record_is_found(path: Path, tmp_path: Path) -> None:
    good = index_of(path)
    at = len(good) - 2 * RECORD_SIZE
    index_path(path).write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
    assert kinds(tmp_path) == [ProblemKind.INDEX_DAMAGED]
    index_path(path).write_bytes(good[:at] + good[at + RECORD_SIZE :])
    (problem,) = check(tmp_path)
    assert (problem.kind, problem.offset) == (ProblemKind.INDEX_DAMAGED, at)


def test_a_damaged_fragment_is_found_where_it_is(path: Path, tmp_path: Path) -> None:
    records = IndexView(index_of(path))
    data = bytearray(path.read_bytes())
    data[records[1].offset + 30] ^= 1
    path.write_bytes(bytes(data))
    (problem,) = check(tmp_path)
    assert (problem.kind, problem.offset) == (ProblemKind.FRAGMENT_DAMAGED, records[1].offset)
    assert not problem.is_repairable


def test_a_file_that_is_not_a_recording_is_found(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"hello")
    (problem,) = check(tmp_path)
    assert problem.kind is ProblemKind.NOT_A_RECORDING
    assert str(path) in problem.message


def test_an_index_without_its_media_file_is_found(path: Path, tmp_path: Path) -> None:
    path.unlink()
    assert kinds(tmp_path) == [ProblemKind.INDEX_WITHOUT_MEDIA]


def test_a_kept_tail_is_reported(path: Path, tmp_path: Path) -> None:
    path.with_name(path.name + ".torn").write_bytes(b"x")
    assert kinds(tmp_path) == [ProblemKind.TORN_TAIL_KEPT]


def test_a_file_that_cannot_be_read_is_reported(path: Path, tmp_path: Path) -> None:
    path.unlink()
    path.symlink_to(path)
    assert ProblemKind.UNREADABLE in kinds(tmp_path)


def test_a_file_that_was_deleted_meanwhile_is_no_problem(tmp_path: Path) -> None:
    assert check_recording(tmp_path / "video_10.mp4") == []
