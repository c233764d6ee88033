"""Reading a recording: its index, the samples of a fragment, and any fragment as fMP4 whatever the container."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container, VideoParameters
from vms.common.types import CameraId
from vms.format import fmp4, layout
from vms.format.container import FORMATS
from vms.format.facts import FileHeader
from vms.format.files import reader_of, storage_errors
from vms.format.index import IndexView, header_line
from vms.format.model import Buffer, IndexRecord, Sample, SampleTable
from vms.format.repair import read_file_header, rebuild_index


class SegmentReader:
    """One media file open for reading; works while a recorder appends to it.

    ``records`` is a snapshot; ``refresh`` takes a new one. An unusable index is replaced by one in memory that is made
    from the media file. Methods raise VmsError: CORRUPT where the file is not what its index says, STORAGE.
    """

    def __init__(self, path: Path, fd: int, header: FileHeader, container: Container, records: IndexView) -> None:
        self.path = path
        self.container = container
        self.records = records
        self._header = header
        self._fd = fd
        self._read = reader_of(fd)
        self._format = FORMATS[container]

    @classmethod
    def open(cls, media_path: Path) -> "SegmentReader":
        """Open a recording. Raises VmsError: NOT_FOUND, CORRUPT when it is not a recording, STORAGE."""
        with storage_errors(media_path):
            fd = os.open(media_path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                header, container = read_file_header(reader_of(fd), media_path)
                return cls(media_path, fd, header, container, _load_index(media_path, header, container))
            except BaseException:
                os.close(fd)
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    @property
    def params(self) -> VideoParameters:
        """How the frames are coded."""
        return self._header.facts.params

    @property
    def camera_id(self) -> CameraId:
        """The camera that was recorded."""
        return self._header.facts.camera_id

    @property
    def init_size(self) -> int:
        """Bytes from the start of the file that are an fMP4 initialisation segment; 0 for Matroska."""
        return self._header.init_size

    @property
    def is_closed(self) -> bool:
        """Whether the recorder had completed the file when it was opened here."""
        return self._header.is_closed

    def refresh(self) -> None:
        """Take a new snapshot of the index."""
        self.records = _load_index(self.path, self._header, self.container)

    def samples(self, record: IndexRecord) -> list[Sample]:
        """The frames of a fragment in decode order."""
        with storage_errors(self.path):
            found, samples = self._format.read_fragment(self._read, record.offset, record.offset + record.size)
        if found != record:
            raise self._damaged(record)
        return samples

    def init_segment(self) -> bytes:
        """``ftyp`` and ``moov`` for the fragments of this file."""
        if self._header.init_size:
            return self._read_exactly(0, self._header.init_size)
        start_us = self.records[0].wall_start_us if self.records else 0
        return fmp4.init_segment(self._header.facts, start_us)

    def fragment_as_fmp4(self, record: IndexRecord, sequence: int) -> list[Buffer]:
        """``moof`` and ``mdat`` of a fragment as buffers to send in order.

        From fMP4 they are the bytes of the file; from Matroska they are made on the fly with number ``sequence`` and
        the fragment's own media time, so that consecutive fragments join.
        """
        if self._header.init_size:
            return [self._read_exactly(record.offset, record.size)]
        samples = self.samples(record)
        data = memoryview(self._read_exactly(record.offset, record.size))
        table = SampleTable(
            payloads=[data[s.offset - record.offset : s.offset - record.offset + s.size] for s in samples],
            sizes=[s.size for s in samples],
            durations_90k=[s.duration_90k for s in samples],
            composition_90k=[s.pts_90k - s.dts_90k for s in samples],
            keyframes=[int(s.is_keyframe) for s in samples],
        )
        return fmp4.fragment_buffers(
            table,
            sequence=sequence,
            media_start_90k=record.media_start_90k,
            wall_us=record.wall_start_us,
            flags=record.flags,
        )[0]

    def _read_exactly(self, offset: int, size: int) -> bytes:
        with storage_errors(self.path):
            data = self._read(offset, size)
        if len(data) != size:
            raise VmsError(ErrorKind.CORRUPT, f"{self.path} ends before byte {offset + size}", path=str(self.path))
        return data

    def _damaged(self, record: IndexRecord) -> VmsError:
        return VmsError(
            ErrorKind.CORRUPT,
            f"{self.path} does not hold the fragment that its index names at byte {record.offset}",
            path=str(self.path),
        )


def _load_index(media_path: Path, header: FileHeader, container: Container) -> IndexView:
    try:
        index = IndexView.load(layout.index_path(media_path))
        if index.header == header_line(header.facts, container):
            return index
    except VmsError as error:
        if error.kind is ErrorKind.STORAGE:
            raise
    return IndexView(rebuild_index(media_path))
