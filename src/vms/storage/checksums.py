"""``checksum_{HH}.sha256`` beside closed recordings, in the format of ``sha256sum -c``.

One thread of the lowest priority, so that reading gigabytes never competes with recording or playback.
"""

import contextlib
import hashlib
import os
import re
import threading
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Final, Self

from vms.common.errors import VmsError
from vms.format import layout
from vms.format.files import opened, replace_file, storage_errors
from vms.telemetry.logging import get_logger

QUEUE_LIMIT: Final = 10_000

_CHUNK: Final = 1 << 20
_NICE: Final = 19
_LINE: Final = re.compile(r"^([0-9a-f]{64})  (\S+)$", re.ASCII)

_log = get_logger("storage.checksums")


class ChecksumWriter:
    """Computes checksums of files handed to ``add``; what does not fit into the queue is done by the next reconcile."""

    def __init__(self, *, limit: int = QUEUE_LIMIT) -> None:
        self._limit = limit
        self._queue: SimpleQueue[Path | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storage-checksums", daemon=True)
        self.written_total = 0
        self.failed_total = 0
        self.dropped_total = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()

    @property
    def waiting(self) -> int:
        """Files in the queue."""
        return self._queue.qsize()

    def add(self, media_path: Path) -> None:
        """Queue a closed file."""
        if self._queue.qsize() >= self._limit:
            self.dropped_total += 1
        else:
            self._queue.put(media_path)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            # On Linux this is the priority of this thread alone.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while (media_path := self._queue.get()) is not None and not self._stopping.is_set():
            try:
                if write_checksum(media_path, stop=self._stopping):
                    self.written_total += 1
            except VmsError as error:
                self.failed_total += 1
                _log.warning("checksum not written", path=str(media_path), reason=error.message)


def checksum_path(media_path: Path) -> Path:
    """The checksum file of the hour of a recording."""
    return media_path.with_name(f"checksum_{media_path.stem.split('_')[1]}.sha256")


def has_checksum(media_path: Path) -> bool:
    """Whether the checksum of a recording was written after the recording."""
    path = checksum_path(media_path)
    try:
        return media_path.name in _entries(path) and path.stat().st_mtime_ns >= media_path.stat().st_mtime_ns
    except OSError:
        return False


def write_checksum(media_path: Path, *, stop: threading.Event | None = None) -> bool:
    """Enter a recording and its index; False when ``stop`` was set meanwhile. Raises VmsError: NOT_FOUND, STORAGE."""
    found: dict[str, str] = {}
    for path in (media_path, layout.index_path(media_path)):
        digest = _digest(path, stop)
        if digest is None:
            return False
        found[path.name] = digest
    target = checksum_path(media_path)
    with storage_errors(target):
        _write(target, _entries(target) | found)
    return True


def drop_checksum(media_path: Path) -> None:
    """Take a deleted recording out of the checksum file of its hour. Raises OSError."""
    target = checksum_path(media_path)
    entries = _entries(target)
    left = {
        name: digest
        for name, digest in entries.items()
        if name not in {media_path.name, layout.index_path(media_path).name}
    }
    if left != entries:
        _write(target, left)


def _write(target: Path, entries: dict[str, str]) -> None:
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(entries.items()))
    replace_file(target, lines.encode())


def _entries(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    return {match[2]: match[1] for match in map(_LINE.match, lines) if match}


def _digest(path: Path, stop: threading.Event | None) -> str | None:
    digest = hashlib.sha256()
    with storage_errors(path), opened(path, os.O_RDONLY) as fd:
        while chunk := os.read(fd, _CHUNK):
            if stop is not None and stop.is_set():
                return None
            digest.update(chunk)
        # What was read once for this need not push out of memory what viewers read.
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return digest.hexdigest()
