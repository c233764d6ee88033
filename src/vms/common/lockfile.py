"""One process at a time: an advisory lock that the kernel releases however its holder ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from vms.common.errors import ErrorKind, VmsError


@contextlib.contextmanager
def hold_lock(path: Path, *, what: str) -> Iterator[None]:
    """Hold ``path`` locked. Raises VmsError(CONFLICT) at once, naming the holder, when another process has it.

    Raises VmsError(STORAGE) when the file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise VmsError(
            ErrorKind.STORAGE, f"{path} cannot be opened ({error.strerror}): is it another user's?", path=str(path)
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise VmsError(
                ErrorKind.CONFLICT,
                f"{what} is in use by process {holder}: stop it first, or choose another",
                holder=holder,
            ) from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds, only its holder stays unnamed
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
