"""Bring a recording and its index back to a consistent state after a crash, from either of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container
from vms.format import layout
from vms.format.container import FORMATS, Format
from vms.format.facts import FileHeader
from vms.format.files import (
    Read,
    lock_for_writing,
    opened,
    reader_of,
    replace_file,
    storage_errors,
    sync_directory,
    write_all,
)
from vms.format.index import IndexView, header_line, pack_record
from vms.format.model import IndexRecord
from vms.format.scan import find_fragment, frames_begin_well, whole_fragments
from vms.format.segment import overwrite

CHECKED_RECORDS: Final = 32
"""How many of the last index records are compared with the file: more than a power cut can leave unsynced."""

_COPY_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """What a repair found and did; nothing was written when ``is_changed`` is false."""

    path: Path
    records: int  # in the index now
    added_records: int = 0
    dropped_records: int = 0
    truncated_bytes: int = 0
    torn_path: Path | None = None  # where a tail with recognisable fragments was moved to
    is_index_rebuilt: bool = False

    @property
    def is_changed(self) -> bool:
        """Whether anything had to be repaired."""
        return bool(self.added_records or self.dropped_records or self.truncated_bytes or self.is_index_rebuilt)


def container_of(media_path: Path) -> Container:
    """The container that a file's suffix names. Raises VmsError(CORRUPT)."""
    try:
        return Container(media_path.suffix[1:])
    except ValueError:
        raise VmsError(ErrorKind.CORRUPT, f"{media_path} is not a recording: it is neither .mp4 nor .mkv") from None


def read_file_header(read: Read, media_path: Path) -> tuple[FileHeader, Container]:
    """The header of a media file. Raises VmsError(CORRUPT) with the path and the reason in one line."""
    container = container_of(media_path)
    try:
        return FORMATS[container].read_header(read), container
    except VmsError as error:
        raise VmsError(
            ErrorKind.CORRUPT, f"{media_path} is not a recording: {error.message}", path=str(media_path)
        ) from None


def rebuild_index(media_path: Path) -> bytes:
    """The index of a media file, made from the media file alone: all whole fragments from its start.

    Raises VmsError(CORRUPT) when it is not a recording, NOT_FOUND, STORAGE.
    """
    with storage_errors(media_path), opened(media_path, os.O_RDONLY) as fd:
        read = reader_of(fd)
        header, container = read_file_header(read, media_path)
        records = whole_fragments(read, FORMATS[container], header.data_start, os.fstat(fd).st_size)
        return index_bytes(header, container, records)


def index_bytes(header: FileHeader, container: Container, records: Iterator[IndexRecord] | list[IndexRecord]) -> bytes:
    """A whole index file."""
    return header_line(header.facts, container) + b"".join(map(pack_record, records))


def repair(media_path: Path) -> RepairReport:
    """Cut a torn tail off a recording and make its index complete.

    Valid index records are trusted, the last of them after a look into the file. Raises VmsError: CORRUPT when the
    file is not a recording (it is left as it is), CONFLICT when it is being written, NOT_FOUND, STORAGE.
    """
    with storage_errors(media_path), _locked(media_path) as fd:
        read = reader_of(fd)
        header, container = read_file_header(read, media_path)
        form = FORMATS[container]
        size = os.fstat(fd).st_size
        index_file = layout.index_path(media_path)
        before = _read_index(index_file)
        trusted = _trusted_records(before, read, form, header, container, size)
        end = trusted[-1].offset + trusted[-1].size if trusted else header.data_start
        found = list(whole_fragments(read, form, end, size, check_frames=True))
        if found:
            end = found[-1].offset + found[-1].size
        if size < end:  # the header itself is cut: its room is, never a fragment
            raise VmsError(ErrorKind.CORRUPT, f"{media_path} is not a recording: it ends inside its header")
        torn_path = _remove_tail(fd, form, header, media_path, end, size) if size > end else None
        after = index_bytes(header, container, trusted + found)
        is_readable = before is not None and before.startswith(header_line(header.facts, container))
        if before != after:
            replace_file(index_file, after)
        known = IndexView(before) if before is not None and is_readable else []
        return RepairReport(
            path=media_path,
            records=len(trusted) + len(found),
            added_records=len(found),
            dropped_records=max(0, len(known) - len(trusted)),
            truncated_bytes=size - end,
            torn_path=torn_path,
            is_index_rebuilt=not is_readable or before is None,
        )


@contextmanager
def _locked(media_path: Path) -> Iterator[int]:
    with opened(media_path, os.O_RDWR) as fd:
        if not lock_for_writing(fd):
            raise VmsError(ErrorKind.CONFLICT, f"{media_path} is being written: stop its recorder first")
        yield fd


def _read_index(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _trusted_records(
    data: bytes | None, read: Read, form: Format, header: FileHeader, container: Container, size: int
) -> list[IndexRecord]:
    """The index records up to the first that is damaged, out of order, beyond the file, or not what the file holds."""
    if data is None or not data.startswith(header_line(header.facts, container)):
        return []
    records = IndexView(data).valid_prefix()
    end = header.data_start
    count = 0
    for record in records:
        if record.offset != end or end + record.size > size:
            break
        end += record.size
        count += 1
    first_checked = max(0, count - CHECKED_RECORDS)
    for number in range(first_checked, count):
        if not _is_in_file(records[number], read, form, size):
            # Damage that begins within the last records is a crash; before them, no record is known to be good.
            count = number if number > first_checked else 0
            break
    return records[:count]


def _is_in_file(record: IndexRecord, read: Read, form: Format, size: int) -> bool:
    try:
        found, samples = form.read_fragment(read, record.offset, size)
    except VmsError:
        return False
    return found == record and frames_begin_well(read, samples)


def _remove_tail(fd: int, form: Format, header: FileHeader, media_path: Path, end: int, size: int) -> Path | None:
    """Truncate to ``end``; a tail that holds recognisable fragments is copied away first."""
    torn_path = None
    if find_fragment(reader_of(fd), form, end + 1, size) is not None:
        torn_path = _copy_tail(fd, media_path, end, size)
    overwrite(fd, form.reopening(header))  # a seek table would point behind the end
    os.ftruncate(fd, end)
    os.fsync(fd)
    return torn_path


def _copy_tail(fd: int, media_path: Path, start: int, end: int) -> Path:
    target, number = media_path.with_name(media_path.name + layout.TORN_SUFFIX), 0
    while target.exists():
        number += 1
        target = media_path.with_name(f"{media_path.name}.{number}{layout.TORN_SUFFIX}")
    with opened(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as out:
        position = start
        while position < end:
            chunk = os.pread(fd, min(_COPY_CHUNK, end - position), position)
            write_all(out, [chunk], position - start, len(chunk))
            position += len(chunk)
        os.fsync(out)
    sync_directory(target.parent)
    return target
