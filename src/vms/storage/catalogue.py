"""Keeps the catalogue: announcements of the recorders become rows."""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Final

from vms.bus.consumer import Delivery
from vms.common.clock import Clock
from vms.common.errors import ErrorKind, VmsError
from vms.common.types import CameraId
from vms.format.layout import parse_media_path
from vms.proto.convert import decode
from vms.proto.messages import AnnouncementKind, RecordingAnnouncement, RecordingFile
from vms.storage.repository import CatalogueRepository
from vms.storage.segments import SegmentFacts, segment_id
from vms.storage.threads import FileThreads
from vms.storage.volumes import Volumes
from vms.telemetry.logging import get_logger

DURABLE: Final = "storage-catalogue"

_log = get_logger("storage.catalogue")


class Catalogue:
    """The handler of ``vms.recording.>``. Applying an announcement twice changes nothing.

    A database that is locked or away makes ``apply`` raise: the bus keeps the announcement and brings it again.
    """

    def __init__(
        self,
        repository: CatalogueRepository,
        volumes: Volumes,
        threads: FileThreads,
        *,
        clock: Clock,
        on_closed: Callable[[SegmentFacts], None],
    ) -> None:
        self._repository = repository
        self._volumes = volumes
        self._threads = threads
        self._clock = clock
        self._on_closed = on_closed
        self.applied_total = 0
        self.skipped_total = 0
        self.failed_total = 0
        self.lag_s = 0.0

    async def apply(self, delivery: Delivery) -> None:
        """Take one announcement. Raises VmsError: PROTOCOL or INVALID for one that never can be, else UNAVAILABLE."""
        announcement = decode(RecordingAnnouncement, delivery.payload)
        try:
            if announcement.gap is not None:
                await self._repository.put_gap(announcement.gap)
            elif announcement.file is not None:
                await self._apply_file(announcement, announcement.file)
        except VmsError:
            self.failed_total += 1
            raise
        self.applied_total += 1

    async def _apply_file(self, announcement: RecordingAnnouncement, file: RecordingFile) -> None:
        closed = announcement.kind is AnnouncementKind.CLOSED
        facts = facts_of(announcement.camera_id, file, closed=closed)
        now_us = self._clock.now_us()
        if await self._threads.run(self._is_gone, facts):
            # Retention, or somebody, was faster than this announcement: it must not bring the row back.
            self.skipped_total += 1
            _log.warning("announced file is not there", camera_id=facts.camera_id, path=facts.path)
            return
        reopened = announcement.kind is AnnouncementKind.OPENED
        await self._repository.put([facts], now_us=now_us, reopened=reopened)
        self.lag_s = max(0.0, (now_us - facts.end_us) / 1e6)
        if closed:
            self._on_closed(facts)

    def _is_gone(self, facts: SegmentFacts) -> bool:
        return self._volumes.is_mounted(facts.volume) and not self._volumes.media_path(facts).exists()


def facts_of(camera_id: CameraId, file: RecordingFile, *, closed: bool) -> SegmentFacts:
    """The row that a recorder's report describes. Raises VmsError(INVALID) for a path that is not the camera's."""
    if parse_media_path(PurePosixPath(file.path)).camera_id != camera_id:
        raise VmsError(
            ErrorKind.INVALID, f"'{file.path[:200]}' is not a recording of {camera_id}", path=file.path[:200]
        )
    return SegmentFacts(
        id=segment_id(file.volume, file.path),
        camera_id=camera_id,
        volume=file.volume,
        path=file.path,
        container=file.container,
        codec=file.parameters.codec,
        codec_string=file.parameters.codec_string,
        width=file.parameters.width,
        height=file.parameters.height,
        start_us=file.start_us,
        end_us=file.end_us,
        size_bytes=file.size_bytes,
        frames=file.frames,
        fragments=file.fragments,
        closed=closed,
    )
