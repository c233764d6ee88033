"""What is played and downloaded: playlists, media files, remuxed fragments, clips."""

import asyncio
import hashlib
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container
from vms.common.timestamps import datetime_from_us
from vms.common.types import CameraId
from vms.format.clip import Clip, build_clip
from vms.format.files import storage_errors
from vms.format.reader import SegmentReader
from vms.storage.disk import freshest
from vms.storage.playlist import PlaylistFile, vod_playlist
from vms.storage.repository import CatalogueRepository
from vms.storage.segments import SegmentFacts, Span
from vms.storage.threads import FileThreads
from vms.storage.volumes import Volumes
from vms.web.streaming import Representation

MEDIA_TYPES: Final = {Container.MP4: "video/mp4", Container.MKV: "video/x-matroska"}

_CHUNK: Final = 256 << 10
_CLIPS_KEPT: Final = 8  # a video element asks for one clip in several ranges
_MAX_FRAGMENTS: Final = 120  # in one remuxed media segment


class Playback:
    """Answers players. Nothing here walks directories: the catalogue says which files, their indexes which bytes."""

    def __init__(self, repository: CatalogueRepository, volumes: Volumes, threads: FileThreads) -> None:
        self._repository = repository
        self._volumes = volumes
        self._threads = threads
        self._clips: OrderedDict[object, Clip] = OrderedDict()
        self._building = asyncio.Semaphore(2)

    async def recordings(self, camera_id: CameraId, span: Span) -> list[SegmentFacts]:
        """Files that overlap a span, with what was appended to open ones up to now. Raises VmsError(UNAVAILABLE)."""
        rows = await self._repository.overlapping(camera_id, span)
        fresh = [await self.fresh(row) for row in rows]
        return [facts for facts in fresh if facts.end_us > span.start_us]

    async def fresh(self, facts: SegmentFacts) -> SegmentFacts:
        """Facts with what was appended since they were reported."""
        if facts.closed:
            return facts
        return await self._threads.run(lambda: freshest(self._volumes.media_path(facts), facts))

    async def playlist(self, camera_id: CameraId, span: Span) -> str:
        """HLS playlist of a span, from the keyframe at or before its start. Raises VmsError(NOT_FOUND) when empty."""
        rows = await self._repository.overlapping(camera_id, span)
        text = await self._threads.run(self._build_playlist, rows, span)
        if text is None:
            raise nothing_recorded()
        return text

    def _build_playlist(self, rows: Sequence[SegmentFacts], span: Span) -> str | None:
        files = []
        for facts in rows:
            try:
                with SegmentReader.open(self._volumes.media_path(facts)) as reader:
                    numbers = reader.records.overlapping(span.start_us, span.end_us)
                    records = list(islice(reader.records, numbers.start, numbers.stop))
                    files.append(PlaylistFile(facts.id, facts.container, reader.init_size, numbers.start, records))
            except VmsError as error:
                if error.kind is not ErrorKind.NOT_FOUND:  # retention was faster
                    raise
        return vod_playlist(files) if any(file.records for file in files) else None

    async def media(self, camera_id: CameraId, segment_id: str, container: Container) -> Representation:
        """A media file as it is; of one that grows, its whole fragments. Raises VmsError."""
        facts = await self._find(camera_id, segment_id)
        if facts.container is not container:
            raise VmsError(ErrorKind.NOT_FOUND, f"recording {segment_id} is {facts.container}, not {container}")
        path = self._volumes.media_path(facts)
        size, modified_ns, closed = await self._threads.run(_measure, path, facts)
        state = "" if closed else "-open"
        return Representation(
            size=size,
            etag=f'"{facts.id}-{size:x}-{modified_ns if closed else 0:x}{state}"',
            modified_us=modified_ns // 1000,
            media_type=MEDIA_TYPES[container],
            read=lambda start, end: self._stream([(path, start, end - start)]),
            cache_control="private, max-age=3600" if closed else "no-cache",
        )

    async def init_segment(self, camera_id: CameraId, segment_id: str) -> bytes:
        """The fMP4 initialisation segment of a recording, whatever its container. Raises VmsError."""
        path = self._volumes.media_path(await self._find(camera_id, segment_id))

        def read() -> bytes:
            with SegmentReader.open(path) as reader:
                return reader.init_segment()

        return await self._threads.run(read)

    async def fragments(self, camera_id: CameraId, segment_id: str, first: int, count: int) -> bytes:
        """Fragments ``[first, first + count)`` of a recording as fMP4. Raises VmsError: INVALID, NOT_FOUND, …"""
        if not 1 <= count <= _MAX_FRAGMENTS:
            raise VmsError(ErrorKind.INVALID, f"count must be 1 to {_MAX_FRAGMENTS}")
        path = self._volumes.media_path(await self._find(camera_id, segment_id))

        def read() -> bytes:
            with SegmentReader.open(path) as reader:
                if first + count > len(reader.records):
                    raise VmsError(ErrorKind.NOT_FOUND, f"the recording has {len(reader.records)} fragments")
                parts = [
                    buffer
                    for number in range(first, first + count)
                    for buffer in reader.fragment_as_fmp4(reader.records[number], number + 1)
                ]
                return b"".join(parts)

        return await self._threads.run(read)

    async def clip(self, camera_id: CameraId, span: Span) -> Representation:
        """A span as one progressive MP4. Raises VmsError: NOT_FOUND when empty, UNSUPPORTED when the codec changes."""
        rows = await self._repository.overlapping(camera_id, span)
        async with self._building:
            clip = await self._threads.run(self._clip_of, rows, span)
        parts = [(part.path, part.offset, part.size) for part in clip.parts]
        when = datetime_from_us(clip.start_us).strftime("%Y-%m-%dT%H-%M-%SZ")
        return Representation(
            size=clip.total_size,
            etag=f'"{hashlib.sha256(clip.header).hexdigest()[:32]}"',
            modified_us=clip.end_us,
            media_type="video/mp4",
            read=lambda start, end: self._stream_clip(clip.header, parts, start, end),
            download_name=f"{camera_id}_{when}.mp4",
            cache_control="no-cache",
        )

    def _clip_of(self, rows: Sequence[SegmentFacts], span: Span) -> Clip:
        with ExitStack() as stack:
            spans = []
            for facts in rows:
                try:
                    reader = stack.enter_context(SegmentReader.open(self._volumes.media_path(facts)))
                except VmsError as error:
                    if error.kind is not ErrorKind.NOT_FOUND:  # retention was faster
                        raise
                    continue
                numbers = reader.records.overlapping(span.start_us, span.end_us)
                if numbers:
                    spans.append((reader, numbers))
            if not spans:
                raise nothing_recorded()
            key = (span, *((reader.path, numbers.start, numbers.stop) for reader, numbers in spans))
            clip = self._clips.pop(key, None) or build_clip(spans, start_us=span.start_us, end_us=span.end_us)
            self._clips[key] = clip
            while len(self._clips) > _CLIPS_KEPT:
                self._clips.popitem(last=False)
            return clip

    async def _find(self, camera_id: CameraId, segment_id: str) -> SegmentFacts:
        facts = await self._repository.find(camera_id, segment_id)
        if facts is None:
            raise VmsError(ErrorKind.NOT_FOUND, f"camera {camera_id} has no recording {segment_id}")
        return facts

    async def _stream_clip(
        self, header: bytes, parts: Sequence[tuple[Path, int, int]], start: int, end: int
    ) -> AsyncIterator[bytes]:
        if start < len(header):
            yield header[start:end]
        chosen = []
        position = len(header)
        for path, offset, size in parts:
            begin, stop = max(start, position), min(end, position + size)
            if begin < stop:
                chosen.append((path, offset + begin - position, stop - begin))
            position += size
        async for chunk in self._stream(chosen):
            yield chunk

    async def _stream(self, parts: Sequence[tuple[Path, int, int]]) -> AsyncIterator[bytes]:
        """Bytes of files in order. A file that ends early, or goes, breaks the reply off."""
        current: Path | None = None
        fd = -1
        try:
            for path, offset, size in parts:
                if path != current:
                    if fd >= 0:
                        os.close(fd)
                        fd = -1
                    fd = await self._threads.run(_open, path)
                    current = path
                position, end = offset, offset + size
                while position < end:
                    chunk = await self._threads.run(os.pread, fd, min(_CHUNK, end - position), position)
                    if not chunk:
                        raise VmsError(ErrorKind.CORRUPT, f"{path} ends before byte {end}")
                    yield chunk
                    position += len(chunk)
        finally:
            if fd >= 0:
                os.close(fd)


def nothing_recorded() -> VmsError:
    """Raised, as NOT_FOUND, for a span without a frame."""
    return VmsError(ErrorKind.NOT_FOUND, "nothing is recorded in that time: ask for the list of recordings")


def _open(path: Path) -> int:
    with storage_errors(path):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _measure(path: Path, facts: SegmentFacts) -> tuple[int, int, bool]:
    """(bytes to serve, modification time in ns, whether it is complete)."""
    with storage_errors(path):
        found = path.stat()
    if facts.closed and found.st_size == facts.size_bytes:
        return found.st_size, found.st_mtime_ns, True
    with SegmentReader.open(path) as reader:
        if not reader.records:
            raise VmsError(ErrorKind.NOT_FOUND, "the recording has no fragment yet")
        last = reader.records[-1]
        return last.offset + last.size, found.st_mtime_ns, reader.is_closed
