"""What the files themselves say: facts of a recording, and the newest of one that is still written to.

All functions block, and are called in threads.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.common.types import CameraId
from vms.format import layout
from vms.format.files import is_being_written, opened
from vms.format.index import IndexView
from vms.format.model import IndexRecord
from vms.format.reader import SegmentReader
from vms.storage.segments import SegmentFacts, segment_id

# A recorder that wrote nothing for so long is asked whether it still holds the file.
_QUIET_US: Final = 600_000_000


def freshest(media_path: Path, facts: SegmentFacts) -> SegmentFacts:
    """Facts of an open file with what was appended since they were reported: one read of its index."""
    if facts.closed:
        return facts
    try:
        index = IndexView.load(layout.index_path(media_path))
        if not index:
            return facts
        last = index[-1]
        size_bytes = last.offset + last.size
        if size_bytes >= facts.size_bytes:
            frames, number = facts.frames, len(index) - 1
            while number >= 0 and index[number].offset >= facts.size_bytes:
                frames += index[number].frames
                number -= 1
        else:  # a repair cut off what a power cut left torn
            frames = sum(record.frames for record in index)
    except VmsError:
        return facts
    return replace(facts, end_us=last.wall_end_us, size_bytes=size_bytes, frames=frames, fragments=len(index))


def read_facts(root: Path, volume: str, relative: PurePosixPath, *, now_us: int) -> SegmentFacts | None:
    """Facts of a file, from its header and index; None when it holds no fragment.

    Raises VmsError: CORRUPT when it is not a recording, NOT_FOUND, STORAGE.
    """
    place = layout.parse_media_path(relative)
    media_path = root / relative
    with SegmentReader.open(media_path) as reader:
        records = reader.records
        if not records:
            return None
        if reader.camera_id != place.camera_id:
            message = f"{media_path} is a recording of {reader.camera_id}: move it to that camera's directory"
            raise VmsError(ErrorKind.CORRUPT, message, path=str(media_path))
        last = records[-1]
        return SegmentFacts(
            id=segment_id(volume, str(relative)),
            camera_id=place.camera_id,
            volume=volume,
            path=str(relative),
            container=reader.container,
            codec=reader.params.codec,
            codec_string=reader.params.codec_string,
            width=reader.params.width,
            height=reader.params.height,
            start_us=records[0].wall_start_us,
            end_us=last.wall_end_us,
            size_bytes=last.offset + last.size,
            frames=sum(record.frames for record in records),
            fragments=len(records),
            closed=reader.is_closed or _is_left_behind(media_path, last.wall_end_us, now_us),
        )


def _is_left_behind(media_path: Path, end_us: int, now_us: int) -> bool:
    """Whether a file that was never closed has no recorder any more."""
    if now_us - end_us < _QUIET_US:
        return False
    try:
        with opened(media_path, os.O_RDONLY) as fd:
            return not is_being_written(fd)
    except OSError:
        return False


def camera_directories(root: Path) -> list[CameraId]:
    """The cameras that have a directory on a volume."""
    return [CameraId(name) for name in _names(root / layout.CAMERAS_DIRECTORY) if not name.startswith(".")]


def days(root: Path, camera_id: CameraId) -> list[str]:
    """The days of a camera that have a directory, oldest first."""
    return sorted(filter(layout.is_date, _names(root / layout.camera_directory(camera_id))))


def media_files(root: Path, camera_id: CameraId, date: str) -> Iterator[PurePosixPath]:
    """The media files of one day, relative to the root."""
    directory = layout.camera_directory(camera_id) / date
    for name in sorted(filter(layout.is_media_name, _names(root / directory))):
        yield directory / name


def last_record(root: Path, camera_id: CameraId) -> IndexRecord | None:
    """The newest fragment of a camera on a volume; None when there is none."""
    for date in reversed(days(root, camera_id)):
        found = []
        for relative in media_files(root, camera_id, date):
            try:
                index = IndexView.load(layout.index_path(root / relative))
                found += [index[-1]] if index else []
            except VmsError:
                continue
        if found:
            return max(found, key=lambda record: record.wall_start_us)
    return None


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 - names, not paths: this walks whole volumes
    except (FileNotFoundError, NotADirectoryError):
        return []
