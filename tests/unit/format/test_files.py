import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vms.common.errors import ErrorKind, VmsError
from vms.format import files
from vms.format.model import Buffer

real_pwritev = os.pwritev


def written(tmp_path: Path, buffers: list[Buffer], offset: int = 0) -> bytes:
    path = tmp_path / "file"
    with files.opened(path, os.O_RDWR | os.O_CREAT) as fd:
        files.write_all(fd, buffers, offset, sum(map(len, buffers)))
        return files.reader_of(fd)(offset, 1 << 20)


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=20), st.lists(st.integers(1, 15), min_size=1))
def test_all_bytes_arrive_however_short_the_writes_are(parts: list[bytes], steps: list[int]) -> None:
    store = bytearray()
    calls = iter(steps * 400)

    def short(_fd: int, buffers: list[Buffer], offset: int) -> int:
        data = b"".join(buffers)[: next(calls)]
        assert offset == len(store)
        store.extend(data)
        return len(data)

    size = sum(map(len, parts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwritev", short)
        if size:
            files.write_all(0, list(parts), 0, size)
    assert bytes(store) == b"".join(parts)


def test_more_buffers_than_one_call_takes_are_written_in_several(tmp_path: Path) -> None:
    parts: list[Buffer] = [bytes([i % 256]) for i in range(2500)]
    assert written(tmp_path, parts) == b"".join(parts)


def test_a_write_that_makes_no_progress_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwritev", lambda *_args: 0)
    with pytest.raises(OSError, match="nothing was written"):
        files.write_all(0, [b"abc"], 0, 3)


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "I/O error"),
        (errno.EACCES, "permission"),
        (errno.EDQUOT, "quota"),
        (errno.ENAMETOOLONG, "File name too long"),
    ],
)
def test_errors_of_the_disk_say_what_to_do_in_one_line(number: int, advice: str) -> None:
    error = files.storage_error(OSError(number, os.strerror(number)), Path("/data/x"))
    assert error.kind is ErrorKind.STORAGE
    assert advice in error.message
    assert "\n" not in error.message


def test_a_missing_file_is_not_found_rather_than_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(VmsError) as caught, files.storage_errors(tmp_path / "x"), files.opened(tmp_path / "x", 0):
        raise AssertionError
    assert caught.value.kind is ErrorKind.NOT_FOUND


def test_a_second_descriptor_sees_the_lock_until_the_first_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with files.opened(path, os.O_RDWR) as other:
        with files.opened(path, os.O_RDWR) as fd:
            assert files.lock_for_writing(fd)
            assert files.is_being_written(other)
        assert not files.is_being_written(other)
        with files.opened(path, os.O_RDWR) as fd:
            assert files.lock_for_writing(fd), "asking must not leave a lock behind"


def test_a_file_system_without_locks_counts_as_locked_by_us(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_args: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    assert files.lock_for_writing(0)
    assert not files.is_being_written(0)


def test_replacing_a_file_leaves_no_temporary_name(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.write_bytes(b"old and longer")
    files.replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_replacement_that_fails_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: Any) -> int:
        raise OSError(errno.ENOSPC, "full")

    path = tmp_path / "index"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(OSError, match="full"):
        files.replace_file(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_temporary_name_tells_the_permanent_one() -> None:
    path = Path("day", "video_10.mp4")
    assert files.permanent_name(files.temporary_path(path).name) == "video_10.mp4"
    assert files.permanent_name("video_10.mp4") is None


def test_directories_are_made_with_all_above_them(tmp_path: Path) -> None:
    files.make_directory(tmp_path / "a" / "b" / "c")
    files.make_directory(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
