"""One recording that is open for appending: media file and index, both ending after a whole fragment."""

import contextlib
import os
from pathlib import Path

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container, FrameFlag, VideoParameters
from vms.common.types import CameraId
from vms.format import layout
from vms.format.container import FORMATS
from vms.format.facts import FileFacts, FileHeader, Patch
from vms.format.files import (
    lock_for_writing,
    make_directory,
    reader_of,
    sync_directory,
    temporary_path,
    write_all,
)
from vms.format.index import RECORD_SIZE, IndexView, header_line, pack_record
from vms.format.model import Fragment, IndexRecord, SampleTable, sample_table, ticks_from_us, us_from_90k

_KEYFRAME = int(FrameFlag.KEYFRAME)
_DISCONTINUITY = int(FrameFlag.DISCONTINUITY)


class Segment:
    """An open recording. Made by :func:`create_segment` or :func:`reopen_segment`; methods raise OSError.

    After an OSError from ``append`` with ``is_cut_back`` set, the files end where they did before and the segment may
    be used on; after any other OSError the caller abandons it.
    """

    def __init__(
        self,
        *,
        media_path: Path,
        container: Container,
        header: FileHeader,
        media_fd: int,
        index_fd: int,
        index_end: int,
    ) -> None:
        self.media_path = media_path
        self.container = container
        self.header = header
        self.end = header.data_start
        self.frames = 0
        self.start_us = 0
        self.last: IndexRecord | None = None
        self.last_sync = 0.0
        self.is_dirty = False
        self.refused: Fragment | None = None  # the fragment that the last append failed with
        self.is_cut_back = False  # and that failure left the files as they were
        self._format = FORMATS[container]
        self._media_fd = media_fd
        self._index_fd = index_fd
        self._index_end = index_end
        self.fragments = 0
        self._session_offset_90k: int | None = None  # file media time − session time, once a fragment fixed it
        self._last_dts_90k = -1

    @property
    def params(self) -> VideoParameters:
        """How the frames in this file are coded."""
        return self.header.facts.params

    def adopt(self, records: list[IndexRecord]) -> None:
        """Take over what is in the files already."""
        self.start_us = records[0].wall_start_us
        self.last = last = records[-1]
        self.end = last.offset + last.size
        self.frames = sum(record.frames for record in records)
        self.fragments = len(records)
        self._index_end += RECORD_SIZE * len(records)
        self._last_dts_90k = last.media_end_90k

    def go_on_from(self, before: "Segment") -> bool:
        """Take the place of an abandoned segment; False if this is another file, or not all of it reached the disk.

        What repair found behind its end is the fragment that was refused, and is going to be written again.
        """
        if self.media_path != before.media_path or self.end < before.end:
            return False
        self.end, self.last, self.frames, self.fragments = before.end, before.last, before.frames, before.fragments
        self.refused = before.refused
        self._index_end = before._index_end  # noqa: SLF001 - of the same class
        self._session_offset_90k = before._session_offset_90k  # noqa: SLF001
        self._last_dts_90k = before._last_dts_90k  # noqa: SLF001
        os.ftruncate(self._media_fd, self.end)
        os.ftruncate(self._index_fd, self._index_end)
        return True

    def take_up(self, fragment: Fragment) -> bool:
        """Let the fragment follow on what an earlier process wrote; False if frames are missing in between.

        No clock but the wall's is common to both. It says when frames are shown, so of reordered ones the composition
        time has to come off; then less than half a frame is no frame.
        """
        last = self.last
        if last is None:
            return False
        first_before = self._format.read_fragment(reader_of(self._media_fd), last.offset, self.end)[1][0]
        first = fragment.units[0]
        due_us = last.wall_end_us - us_from_90k(first_before.pts_90k - first_before.dts_90k)
        decoded_us = fragment.wall_us - us_from_90k(first.pts_90k - first.dts_90k)
        if abs(decoded_us - due_us) * 2 > us_from_90k(last.duration_90k) // last.frames:
            return False
        self._session_offset_90k = last.media_end_90k - first.dts_90k
        self._last_dts_90k = last.media_end_90k - 1
        return True

    def append(self, fragment: Fragment) -> IndexRecord:
        """Write a fragment, then its index record. A wall time before the last record's is moved up to it."""
        if self.refused is not None and fragment is not self.refused:
            self._session_offset_90k = None  # the refused one lies between: this one does not follow
        table = sample_table(fragment)
        last = self.last
        wall_us = fragment.wall_us
        flags = fragment.flags & ~_KEYFRAME | table.keyframes[0]
        if last is None:
            self.start_us = wall_us
        elif wall_us < last.wall_start_us:
            wall_us = last.wall_start_us
        media_start_90k, is_continuous = self._place(fragment, wall_us)
        if not is_continuous:
            flags |= _DISCONTINUITY
        buffers, size = self._format.fragment_buffers(
            table, sequence=self.fragments + 1, media_start_90k=media_start_90k, wall_us=wall_us, flags=flags
        )
        record = IndexRecord(
            wall_us, media_start_90k, self.end, size, table.duration_90k, len(table.sizes), flags
        )  # fmt: skip
        try:
            write_all(self._media_fd, buffers, self.end, size)
            write_all(self._index_fd, [pack_record(record)], self._index_end, RECORD_SIZE)
        except OSError:
            self.refused = fragment
            self.is_cut_back = self._cut_back()
            raise
        self._advance(record, fragment, table)
        return record

    def _place(self, fragment: Fragment, wall_us: int) -> tuple[int, bool]:
        """File media time of the first frame, and whether it follows from the frame before by the camera's clock."""
        first_dts_90k = fragment.units[0].dts_90k
        last = self.last
        if last is None:
            return 0, True
        if self._session_offset_90k is not None and not fragment.flags & _DISCONTINUITY:
            exact_90k = first_dts_90k + self._session_offset_90k
            if exact_90k > self._last_dts_90k:
                return exact_90k, True
        # No common clock with what was before: the gap on the media timeline is the gap in wall time.
        return max(last.media_end_90k, ticks_from_us(wall_us - self.start_us)), False

    def _advance(self, record: IndexRecord, fragment: Fragment, table: SampleTable) -> None:
        self.last = record
        self.end += record.size
        self.frames += record.frames
        self.is_dirty = True
        self.refused = None
        self.is_cut_back = False
        self.fragments += 1
        self._index_end += RECORD_SIZE
        self._session_offset_90k = record.media_start_90k - fragment.units[0].dts_90k
        self._last_dts_90k = record.media_end_90k - table.durations_90k[-1]

    def _cut_back(self) -> bool:
        try:
            os.ftruncate(self._media_fd, self.end)
            os.ftruncate(self._index_fd, self._index_end)
        except OSError:
            return False  # a torn tail is left, which the next opening repairs
        return True

    def sync(self, now_monotonic: float) -> None:
        """Make everything written durable, the media first."""
        os.fdatasync(self._media_fd)
        os.fdatasync(self._index_fd)
        self.last_sync = now_monotonic
        self.is_dirty = False

    def unseal(self) -> None:
        """Take the seek table away, so that the file may grow."""
        overwrite(self._media_fd, self._format.reopening(self.header))
        os.fdatasync(self._media_fd)
        self.header = self.header._replace(is_closed=False)

    def close(self) -> None:
        """Make everything durable, put the seek table in place, let go of the files."""
        try:
            # One sync covers the frames and the body of the seek table; the rest may reach the disk when it likes,
            # because the file is right with or without it.
            table = [] if self.header.is_closed else self._seek_table()
            overwrite(self._media_fd, table[:1])
            self.sync(self.last_sync)
            overwrite(self._media_fd, table[1:])
        finally:
            self.abandon()

    def _seek_table(self) -> list[Patch]:
        # The records are read back rather than kept: an hour of them is 1 MB of objects per camera.
        try:
            records = list(IndexView.load(layout.index_path(self.media_path)))
            samples = self._format.read_fragment(reader_of(self._media_fd), self.header.data_start, self.end)[1]
        except VmsError:
            return []  # damaged from outside: still playable without a seek table, and repair will say so
        return self._format.closing(self.header, records, max(0, min(sample.pts_90k for sample in samples)))

    def abandon(self) -> None:
        """Let go of the files as they are."""
        for fd in (self._index_fd, self._media_fd):
            with contextlib.suppress(OSError):
                os.close(fd)


def overwrite(fd: int, patches: list[Patch]) -> None:
    """Overwrite parts of the header in order. Raises OSError."""
    for patch in patches:
        write_all(fd, [patch.data], patch.offset, len(patch.data))


def create_segment(
    root: Path,
    place: layout.RecordingPath,
    params: VideoParameters,
    fragment: Fragment,
    *,
    rotation_s: int,
) -> tuple[Segment, IndexRecord]:
    """Begin a file with its first fragment. Raises OSError; then nothing is left under its name.

    The media file gets its name when header and first fragment are in it and durable, so that a file with a
    recording's name always is one.
    """
    media_path = root / place.media
    make_directory(media_path.parent)
    temporary = temporary_path(media_path)
    media_fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        lock_for_writing(media_fd)
        header = _write_header(media_fd, place.camera_id, params, place.container, fragment.wall_us, rotation_s)
        line = header_line(header.facts, place.container)
        index_path = root / place.index
        index_fd = os.open(index_path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError:
        _discard([media_fd], [temporary])
        raise
    try:
        write_all(index_fd, [line], 0, len(line))
        segment = Segment(
            media_path=media_path,
            container=place.container,
            header=header,
            media_fd=media_fd,
            index_fd=index_fd,
            index_end=len(line),
        )
        record = segment.append(fragment)
        os.fdatasync(media_fd)
        temporary.rename(media_path)
        sync_directory(media_path.parent)
    except (OSError, VmsError):
        _discard([index_fd, media_fd], [index_path, temporary])
        raise
    return segment, record


def _write_header(
    fd: int, camera_id: CameraId, params: VideoParameters, container: Container, start_us: int, rotation_s: int
) -> FileHeader:
    form = FORMATS[container]
    facts = FileFacts(camera_id, params, form.room_bytes(rotation_s))
    data = form.file_header(facts, start_us)
    write_all(fd, [data], 0, len(data))
    return form.read_header(reader_of(fd))


def _discard(descriptors: list[int], paths: list[Path]) -> None:
    for fd in descriptors:
        with contextlib.suppress(OSError):
            os.close(fd)
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def reopen_segment(media_path: Path, container: Container) -> Segment:
    """Open a repaired recording, to ``unseal`` and append to it or to ``close`` it.

    Raises VmsError(CONFLICT) when it is being written, CORRUPT when it is not a repaired recording, and OSError.
    """
    media_fd = os.open(media_path, os.O_RDWR | os.O_CLOEXEC)
    try:
        return _adopted(media_fd, media_path, container)
    except (OSError, VmsError):
        os.close(media_fd)
        raise


def _adopted(media_fd: int, media_path: Path, container: Container) -> Segment:
    if not lock_for_writing(media_fd):
        raise VmsError(ErrorKind.CONFLICT, f"{media_path} is being written by another process")
    header = FORMATS[container].read_header(reader_of(media_fd))
    index_path = layout.index_path(media_path)
    records = list(IndexView.load(index_path))
    if not records:
        raise VmsError(ErrorKind.CORRUPT, f"{media_path} holds no fragment")
    segment = Segment(
        media_path=media_path,
        container=container,
        header=header,
        media_fd=media_fd,
        index_fd=os.open(index_path, os.O_RDWR | os.O_CLOEXEC),
        index_end=len(header_line(header.facts, container)),
    )
    segment.adopt(records)
    return segment
