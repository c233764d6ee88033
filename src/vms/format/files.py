"""Files as the format needs them: vectored writes that are whole or an error, locks, durable creation."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.format.model import Buffer

Read = Callable[[int, int], bytes]
"""``read(offset, size)``: up to ``size`` bytes, fewer only at the end of the file."""

_NEW: Final = ".new"
_IOV_MAX: Final = 1024  # Linux UIO_MAXIOV; os.sysconf("SC_IOV_MAX") says the same
_ADVICE: Final = {
    errno.ENOSPC: "the disk is full: free space or shorten the retention",
    errno.EDQUOT: "the quota is used up: raise it or shorten the retention",
    errno.EROFS: "the file system is read-only: check the disk, then remount it",
    errno.EIO: "the disk reports an I/O error: check its cable and health",
    errno.EACCES: "permission denied: let the service's user write there",
}


def storage_error(error: OSError, path: Path) -> VmsError:
    """The VmsError(STORAGE) for a failed operation on ``path``."""
    advice = _ADVICE.get(error.errno or 0, error.strerror or type(error).__name__)
    return VmsError(ErrorKind.STORAGE, f"cannot use {path}: {advice}", path=str(path), errno=error.errno)


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into VmsError(STORAGE), a missing file into VmsError(NOT_FOUND)."""
    try:
        yield
    except FileNotFoundError:
        raise VmsError(ErrorKind.NOT_FOUND, f"there is no file {path}", path=str(path)) from None
    except OSError as error:
        raise storage_error(error, path) from None


@contextlib.contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """A file descriptor for the length of a block."""
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def reader_of(fd: int) -> Read:
    """Positioned reads on a descriptor; the file may grow meanwhile."""

    def read(offset: int, size: int) -> bytes:
        return os.pread(fd, size, offset)

    return read


def write_all(fd: int, buffers: list[Buffer], offset: int, size: int) -> None:
    """Write all ``size`` bytes of ``buffers`` at ``offset``. Raises OSError; then any part may have been written."""
    written = os.pwritev(fd, buffers[:_IOV_MAX] if len(buffers) > _IOV_MAX else buffers, offset)
    if written != size:
        _write_rest(fd, buffers, offset, size, written)


def _write_rest(fd: int, buffers: list[Buffer], offset: int, size: int, written: int) -> None:
    """Go on after a short write, as near a full disk, or when there are more buffers than one call takes."""
    total = written
    while total < size:
        if written <= 0:
            raise OSError(errno.EIO, "nothing was written")
        buffers = _without_first(buffers, written)
        written = os.pwritev(fd, buffers[:_IOV_MAX], offset + total)
        total += written


def _without_first(buffers: list[Buffer], count: int) -> list[Buffer]:
    for number, buffer in enumerate(buffers):
        if count < len(buffer):
            return [memoryview(buffer)[count:], *buffers[number + 1 :]]
        count -= len(buffer)
    return []


def lock_for_writing(fd: int) -> bool:
    """Take the exclusive lock that says "being written"; False when another descriptor holds it.

    The lock ends with the descriptor, so a killed process leaves none. A file system without locks counts as locked
    by us: then one recorder per data directory is all the protection there is.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def is_being_written(fd: int) -> bool:
    """Whether another descriptor holds the lock. Takes it for a moment: ask only when the answer matters."""
    if not lock_for_writing(fd):
        return True
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def make_directory(path: Path) -> None:
    """Create a directory and those above it, durably."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)


def sync_directory(path: Path) -> None:
    """Make names created, renamed or removed in a directory durable."""
    with opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        os.fsync(fd)


def replace_file(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of a file: at every moment the old or the new content is there."""
    temporary = temporary_path(path)
    with opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
        write_all(fd, [data], 0, len(data))
        os.fsync(fd)
    temporary.replace(path)
    sync_directory(path.parent)


def temporary_path(path: Path) -> Path:
    """The name of a file until it is complete; no reader looks at it."""
    return path.with_name(f".{path.name}{_NEW}")


def permanent_name(name: str) -> str | None:
    """The name that a file with a temporary name was to get; None for any other file."""
    return name[1 : -len(_NEW)] if name.startswith(".") and name.endswith(_NEW) else None
