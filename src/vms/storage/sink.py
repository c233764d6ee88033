"""Writes the recordings of cameras whose ``sink`` is the bus: fragments come over JetStream, and go through the same
writer as next to a camera.

A message is done when its bytes are durable. What was written but not acknowledged before a crash comes again, and is
recognised by the wall time of the last fragment on disk. The parts of a fragment that is larger than a message are kept
in a spool file, durable as well, until the last one is here.
"""

import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from vms.bus.consumer import Delivery
from vms.bus.outbox import Outbox
from vms.common.clock import Clock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit
from vms.common.types import CameraId, parse_camera_id
from vms.format.files import make_directory, opened, storage_errors, sync_directory, write_all
from vms.format.model import Fragment, FragmentWritten, RecordingEvent, SegmentOpened
from vms.format.recording import RecordingWriter
from vms.format.volume import VolumeWriter
from vms.proto import subjects
from vms.proto.convert import decode, encode
from vms.proto.messages import AnnouncementKind, FragmentPart, Gap, GapCause, RecordingAnnouncement, RecordingFile
from vms.storage.disk import last_record
from vms.storage.policies import CameraPolicies
from vms.storage.volumes import Volumes
from vms.telemetry.logging import get_logger

DURABLE: Final = "storage-sink"
SPOOL: Final = ".vms-spool"

_WORKER: Final = "storage"
_PROGRESS_S: Final = 10.0
_IDLE_S: Final = 30.0
_POLL_S: Final = 1.0
_PARTS_MAX: Final = 1024
_TOLERANCE_US: Final = 1_500_000  # two frames of a slow camera may be this far apart without anything being missing

T = TypeVar("T")

_log = get_logger("storage.sink")


@dataclass(slots=True)
class _Stream:
    """One camera that is being written."""

    volume: str
    writer: RecordingWriter
    last_wall_us: int | None = None  # wall start of the last fragment on disk
    end_us: int | None = None  # where it ends
    session: tuple[str, int] = ("", -1)  # id, and number of its last fragment written
    refused: tuple[tuple[str, int], Fragment] | None = None  # by the disk; the writer knows it again as the same object
    last_seen: float = 0.0
    last_progress: float = 0.0


class BusSink:
    """The handler of ``vms.fragment.>``."""

    def __init__(
        self,
        outbox: Outbox,
        volumes: Volumes,
        policies: CameraPolicies,
        *,
        clock: Clock,
        rotation_s: int,
        queue_max_bytes: int,
    ) -> None:
        self._outbox = outbox
        self._volumes = volumes
        self._policies = policies
        self._clock = clock
        self._rotation_s = rotation_s
        self._queue_max_bytes = queue_max_bytes
        self._streams: dict[CameraId, _Stream] = {}
        self._writers: dict[str, VolumeWriter] = {}
        self._busy = asyncio.Lock()  # a fragment, or the closing of idle files, at a time
        self.written_total = 0
        self.duplicates_total = 0
        self.failed_total = 0

    async def run(self) -> None:
        """Close files of cameras that fell silent, until cancelled."""
        while True:
            await asyncio.sleep(_POLL_S)
            async with self._busy:
                limit = self._clock.monotonic() - _IDLE_S
                for camera_id in [name for name, stream in self._streams.items() if stream.last_seen < limit]:
                    await self._close(camera_id)

    async def close(self) -> None:
        """Complete what is open and end the threads, when no message comes any more."""
        for camera_id in list(self._streams):
            await self._close(camera_id)
        for writer in self._writers.values():
            await asyncio.to_thread(writer.stop)

    async def take(self, delivery: Delivery) -> None:
        """Write one message of the stream. Raises VmsError: the bus brings the message again."""
        part = decode(FragmentPart, delivery.payload)
        parse_camera_id(part.camera_id)
        if not (0 <= part.part < part.parts <= _PARTS_MAX):
            raise VmsError(ErrorKind.PROTOCOL, f"part {part.part} of {part.parts} is none")
        try:
            async with self._busy:
                await self._take(part, is_repeated=delivery.attempt > 1)
        except VmsError:
            self.failed_total += 1
            raise

    async def _take(self, part: FragmentPart, *, is_repeated: bool) -> None:
        stream = await self._stream(part)
        stream.last_seen = self._clock.monotonic()
        same_session = stream.session[0] == part.session_id
        is_known = same_session and part.fragment_seq <= stream.session[1]
        if not is_known and is_repeated and not same_session and stream.last_wall_us is not None:
            is_known = part.wall_us <= stream.last_wall_us
        if is_known:
            self.duplicates_total += 1
            return
        spool = self._spool_path(stream.volume, part)
        if part.part < part.parts - 1:
            await self._in_thread(stream.volume, lambda: _spool(spool, part), len(part.data))
            return
        events = await self._in_thread(stream.volume, lambda: self._write(stream, part, spool), len(part.data))
        stream.session = (part.session_id, part.fragment_seq)
        stream.last_wall_us = max(part.wall_us, stream.last_wall_us or 0)
        self.written_total += 1
        self._announce(stream, events)

    def _write(self, stream: _Stream, part: FragmentPart, spool: Path) -> list[RecordingEvent]:
        """On the volume's thread. The writer syncs after every fragment: only durable bytes are acknowledged."""
        whole = _whole(spool, part) if part.parts > 1 else part
        key = (part.session_id, part.fragment_seq)
        fragment = stream.refused[1] if stream.refused is not None and stream.refused[0] == key else fragment_of(whole)
        stream.refused = (key, fragment)
        events = stream.writer.write(part.parameters, fragment, self._clock.monotonic())
        stream.refused = None
        if part.parts > 1:
            shutil.rmtree(spool, ignore_errors=True)
        return events

    async def _stream(self, part: FragmentPart) -> _Stream:
        known = self._streams.get(part.camera_id)
        volume = self._policies.volume_of(part.camera_id)
        if volume not in self._volumes.names:
            _log.warning("no such volume", camera_id=part.camera_id, volume=volume, used=self._volumes.names[0])
            volume = self._volumes.names[0]
        if known is not None and (known.volume, known.writer.container) == (volume, part.container):
            return known
        if known is not None:
            await self._close(part.camera_id)
        root = self._volumes.root(volume)
        writer = RecordingWriter(
            root, part.camera_id, container=part.container, rotation_s=self._rotation_s, sync_interval_s=0.0
        )
        last = await self._in_thread(volume, lambda: last_record(root, part.camera_id), 0)
        stream = _Stream(volume, writer)
        if last is not None:
            stream.last_wall_us, stream.end_us = last.wall_start_us, last.wall_end_us
        if known is not None:
            stream.session = known.session
        self._streams[part.camera_id] = stream
        return stream

    async def _close(self, camera_id: CameraId) -> None:
        stream = self._streams.pop(camera_id)
        try:
            self._announce(stream, await self._in_thread(stream.volume, stream.writer.close, 0))
        except VmsError as error:
            # The writer repairs it when the camera goes on; the catalogue learns of it from the disk at the next start.
            _log.warning("file not closed", camera_id=camera_id, reason=error.message)

    def _announce(self, stream: _Stream, events: list[RecordingEvent]) -> None:
        """Announce what the writer did; of fragments, one in ten seconds."""
        now = self._clock.monotonic()
        for event in events:
            if isinstance(event, FragmentWritten):
                self._announce_gap(stream, event)
                if now - stream.last_progress < _PROGRESS_S:
                    continue
                kind = AnnouncementKind.PROGRESS
            else:
                kind = AnnouncementKind.OPENED if isinstance(event, SegmentOpened) else AnnouncementKind.CLOSED
            stream.last_progress = now
            announcement = RecordingAnnouncement(event.camera_id, _WORKER, kind, file=_file(stream.volume, event))
            self._outbox.put(
                subjects.recording(event.camera_id, kind),
                encode(announcement),
                msg_id=f"{event.camera_id}:{event.path}:{kind}:{event.size_bytes}",
                droppable=kind is AnnouncementKind.PROGRESS,
            )

    def _announce_gap(self, stream: _Stream, event: FragmentWritten) -> None:
        """Time between two fragments that nobody recorded. Its cause is known next to the camera, not here."""
        start_us, end_us = stream.end_us, event.record.wall_start_us
        stream.end_us = max(event.record.wall_end_us, start_us or 0)
        if start_us is None or end_us - start_us <= _TOLERANCE_US:
            return
        gap = Gap(event.camera_id, start_us, end_us, GapCause.UNKNOWN, "no fragments came over the bus")
        announcement = RecordingAnnouncement(event.camera_id, _WORKER, AnnouncementKind.GAP, gap=gap)
        subject = subjects.recording(event.camera_id, AnnouncementKind.GAP)
        self._outbox.put(subject, encode(announcement), msg_id=f"{event.camera_id}:gap:{start_us}:{end_us}")

    async def _in_thread(self, volume: str, job: Callable[[], T], nbytes: int) -> T:
        """What ``job`` returns or raises, run in turn on the volume's thread."""
        writer = self._writers.get(volume)
        if writer is None:
            writer = VolumeWriter(volume, self._queue_max_bytes, self._clock)
            writer.start()
            self._writers[volume] = writer
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            result = job()
            loop.call_soon_threadsafe(_resolve, future, result)

        def failed(error: Exception) -> None:
            loop.call_soon_threadsafe(_reject, future, error)

        if not writer.submit(work, nbytes, failed):
            raise VmsError(ErrorKind.UNAVAILABLE, f"the disk of volume {volume} is behind")
        return await future

    def _spool_path(self, volume: str, part: FragmentPart) -> Path:
        name = subjects.token(f"{part.camera_id}-{part.fragment_seq}-{part.session_id}"[:128])
        return self._volumes.root(volume) / SPOOL / name


def fragment_of(part: FragmentPart) -> Fragment:
    """The fragment that a message holds. Raises VmsError(PROTOCOL) when the sizes do not add up."""
    data = part.data
    if not part.units or sum(unit.size for unit in part.units) != len(data):
        raise VmsError(ErrorKind.PROTOCOL, "a fragment's frames are not as long as its data")
    units = []
    position = 0
    for number, unit in enumerate(part.units):
        payload = data[position : position + unit.size]
        position += unit.size
        units.append(AccessUnit(number, unit.pts_90k, unit.dts_90k, unit.capture_us, unit.flags, payload))
    return Fragment(units, part.duration_90k, part.wall_us, part.flags)


def _resolve(future: asyncio.Future[T], result: T) -> None:
    if not future.done():  # cancelled meanwhile
        future.set_result(result)


def _reject(future: asyncio.Future[T], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _spool(directory: Path, part: FragmentPart) -> None:
    target = directory / f"{part.part:04}"
    with storage_errors(directory):
        make_directory(directory)
        with opened(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as fd:
            data = encode(part)
            write_all(fd, [data], 0, len(data))
            os.fdatasync(fd)
        sync_directory(directory)


def _whole(directory: Path, last: FragmentPart) -> FragmentPart:
    """The fragment with the data of all its parts; the first holds the table of frames.

    Raises VmsError(PROTOCOL) when a part never came: then none ever will.
    """
    try:
        spooled = [(directory / f"{number:04}").read_bytes() for number in range(last.parts - 1)]
    except FileNotFoundError:
        raise VmsError(ErrorKind.PROTOCOL, f"fragment {last.fragment_seq} lacks a part") from None
    parts = [*(decode(FragmentPart, data) for data in spooled), last]
    return replace(last, units=parts[0].units, data=b"".join(part.data for part in parts))


def _file(volume: str, event: RecordingEvent) -> RecordingFile:
    return RecordingFile(
        volume=volume,
        path=str(event.path),
        container=event.container,
        parameters=event.params,
        start_us=event.start_us,
        end_us=event.end_us,
        size_bytes=event.size_bytes,
        frames=event.frames,
        fragments=event.fragments,
    )
