"""Look for everything that is wrong in a tree of recordings, while recorders may be writing to it."""

import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from vms.common.errors import ErrorKind, VmsError
from vms.format import layout
from vms.format.container import FORMATS, Format
from vms.format.files import is_being_written, opened, reader_of, storage_error
from vms.format.index import RECORD_SIZE, IndexView, header_line
from vms.format.repair import read_file_header

_ATTEMPTS: Final = 3


class ProblemKind(StrEnum):
    """What can be wrong with a recording."""

    UNREADABLE = "unreadable"
    NOT_A_RECORDING = "not_a_recording"
    INDEX_MISSING = "index_missing"
    INDEX_DAMAGED = "index_damaged"
    INDEX_BEYOND_FILE = "index_beyond_file"
    FRAGMENT_DAMAGED = "fragment_damaged"
    UNINDEXED_TAIL = "unindexed_tail"
    INDEX_WITHOUT_MEDIA = "index_without_media"
    TORN_TAIL_KEPT = "torn_tail_kept"


class Problem(NamedTuple):
    """One thing wrong with one file. ``offset`` is a byte position in ``path``."""

    kind: ProblemKind
    path: Path
    offset: int
    message: str

    @property
    def is_repairable(self) -> bool:
        """Whether ``repair`` of the media file puts it right."""
        return self.kind in {
            ProblemKind.INDEX_MISSING,
            ProblemKind.INDEX_DAMAGED,
            ProblemKind.INDEX_BEYOND_FILE,
            ProblemKind.UNINDEXED_TAIL,
        }

    @property
    def media_path(self) -> Path:
        """The media file, which ``repair`` takes, also where the problem lies in its index."""
        if not self.path.name.endswith(layout.INDEX_SUFFIX):
            return self.path
        return next((media for media in _media_beside(self.path) if media.exists()), self.path)


def check(root: Path) -> Iterator[Problem]:
    """All problems of the recordings below ``root``, in order of path. Reads heads of fragments, not frames.

    A file that a recorder has open is right when its index describes whole fragments; what lies behind them is still
    being written.
    """
    for directory in sorted((root / layout.CAMERAS_DIRECTORY).glob("*/*")):
        if layout.is_date(directory.name) and directory.is_dir():
            yield from _check_day(directory)


def _check_day(directory: Path) -> Iterator[Problem]:
    for path in sorted(directory.iterdir()):
        if layout.is_media_name(path.name):
            yield from check_recording(path)
        elif path.name.endswith(layout.INDEX_SUFFIX) and not _has_media(path):
            yield Problem(ProblemKind.INDEX_WITHOUT_MEDIA, path, 0, "no media file belongs to this index: delete it")
        elif path.name.endswith(layout.TORN_SUFFIX):
            yield Problem(ProblemKind.TORN_TAIL_KEPT, path, 0, "a repair kept these bytes: recover or delete them")


def _has_media(index_file: Path) -> bool:
    places = _media_beside(index_file)
    # A recorder makes the index a moment before the media file gets its name; retention removes the index last.
    in_the_making = [path.with_name(f".{path.name}.new") for path in places]
    return any(path.exists() for path in in_the_making + places) or not index_file.exists()


def _media_beside(index_file: Path) -> list[Path]:
    """Where the media file of an index may be."""
    stem = index_file.name.removeprefix("index_").removesuffix(layout.INDEX_SUFFIX)
    return [index_file.with_name(f"video_{stem}.{suffix}") for suffix in ("mp4", "mkv")]


def check_recording(media_path: Path) -> list[Problem]:
    """The problems of one media file and its index; none when it is gone meanwhile, as retention does."""
    try:
        with opened(media_path, os.O_RDONLY) as fd:
            header, container = read_file_header(reader_of(fd), media_path)
            line = header_line(header.facts, container)
            for _ in range(_ATTEMPTS):
                problems, is_settled = _check_against_index(fd, media_path, line, header.data_start, FORMATS[container])
                if is_settled:
                    return problems
            return []  # still growing each time it was looked at, so someone is writing it
    except FileNotFoundError:
        return []
    except OSError as error:
        return [Problem(ProblemKind.UNREADABLE, media_path, 0, storage_error(error, media_path).message)]
    except VmsError as error:
        return [Problem(ProblemKind.NOT_A_RECORDING, media_path, 0, error.message)]


def _check_against_index(
    fd: int, media_path: Path, line: bytes, data_start: int, form: Format
) -> tuple[list[Problem], bool]:
    """The problems found, and whether they are final: false when the file grew while it was looked at."""
    index_file = layout.index_path(media_path)
    try:
        # The index first, then the file: so the file is never shorter than what its index says.
        index_size = index_file.stat().st_size
        index = IndexView.load(index_file)
    except (OSError, VmsError) as error:
        if not media_path.exists():
            return [], True
        is_missing = isinstance(error, FileNotFoundError) or (
            isinstance(error, VmsError) and error.kind is ErrorKind.NOT_FOUND
        )
        kind = ProblemKind.INDEX_MISSING if is_missing else ProblemKind.INDEX_DAMAGED
        return [Problem(kind, index_file, 0, "no usable index: repair rebuilds it from the media file")], True
    size = os.fstat(fd).st_size
    if index.header != line:
        return [Problem(ProblemKind.INDEX_DAMAGED, index_file, 0, "its header does not belong to the media file")], True
    problems, end = _check_records(fd, media_path, index, data_start, size, form)
    is_index_torn = index_size != len(line) + len(index) * RECORD_SIZE
    if problems or (size == end and not is_index_torn) or is_being_written(fd):
        return problems, True
    if os.fstat(fd).st_size != size or index_file.stat().st_size != index_size:
        return [], False
    if size > end:
        message = f"{size - end} bytes behind the last indexed fragment"
        return [Problem(ProblemKind.UNINDEXED_TAIL, media_path, end, message)], True
    return [Problem(ProblemKind.INDEX_DAMAGED, index_file, index_size, "its last record is damaged or cut")], True


def _check_records(
    fd: int, media_path: Path, index: IndexView, end: int, size: int, form: Format
) -> tuple[list[Problem], int]:
    """The problems of the indexed fragments, and where the last of them ends."""
    index_file = layout.index_path(media_path)
    read = reader_of(fd)
    problems: list[Problem] = []
    for number in range(len(index)):
        at = len(index.header) + number * RECORD_SIZE
        try:
            record = index[number]
        except VmsError as error:
            return [*problems, Problem(ProblemKind.INDEX_DAMAGED, index_file, at, error.message)], end
        if record.offset != end:
            message = f"a record for byte {record.offset} where byte {end} is due"
            return [*problems, Problem(ProblemKind.INDEX_DAMAGED, index_file, at, message)], end
        end += record.size
        if end > size:
            message = f"a record up to byte {end}, but the media file has {size}"
            return [*problems, Problem(ProblemKind.INDEX_BEYOND_FILE, index_file, at, message)], end
        try:
            is_same = form.read_fragment(read, record.offset, size)[0] == record
        except VmsError:
            is_same = False
        if not is_same:
            message = "the fragment is not what the index says: restore the file from a copy"
            problems.append(Problem(ProblemKind.FRAGMENT_DAMAGED, media_path, record.offset, message))
    return problems, end
