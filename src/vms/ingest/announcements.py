"""Tells the bus what was written: files opened, progress every ten seconds, files closed, gaps."""

from typing import Final

from vms.bus.outbox import Outbox
from vms.common.clock import Clock
from vms.common.types import CameraId
from vms.format.model import FragmentWritten, RecordingEvent, SegmentOpened
from vms.ingest.gaps import GapTracker
from vms.proto import subjects
from vms.proto.convert import encode
from vms.proto.messages import AnnouncementKind, Gap, RecordingAnnouncement, RecordingFile

_PROGRESS_S: Final = 10.0


class Announcer:
    """Announcements of one camera. ``handle`` takes what the recorder reports, in order, on the event loop."""

    def __init__(
        self, camera_id: CameraId, *, volume: str, worker: str, outbox: Outbox, gaps: GapTracker, clock: Clock
    ) -> None:
        self._camera_id = camera_id
        self._volume = volume
        self._worker = worker
        self._outbox = outbox
        self._gaps = gaps
        self._clock = clock
        self._progress_at = 0.0
        self.fragments_total = 0
        self.bytes_total = 0
        self.gaps_total = 0
        self.gap_us_total: dict[str, int] = {}
        self.last_written_us: int | None = None

    def handle(self, event: RecordingEvent) -> None:
        """Pass on one event of the recording writer."""
        if isinstance(event, FragmentWritten):
            self._written(event)
        elif isinstance(event, SegmentOpened):
            self._progress_at = self._clock.monotonic() + _PROGRESS_S
            self._send(AnnouncementKind.OPENED, event)
        else:
            self._send(AnnouncementKind.CLOSED, event)

    def _written(self, event: FragmentWritten) -> None:
        record = event.record
        self.fragments_total += 1
        self.bytes_total += record.size
        end_us = record.wall_start_us + record.duration_90k * 100 // 9
        self.last_written_us = end_us
        gap = self._gaps.recorded(record.wall_start_us, end_us)
        if gap is not None:
            self._announce_gap(gap)
        now = self._clock.monotonic()
        if now >= self._progress_at:
            self._progress_at = now + _PROGRESS_S
            self._send(AnnouncementKind.PROGRESS, event)

    def _announce_gap(self, gap: Gap) -> None:
        self.gaps_total += 1
        self.gap_us_total[gap.cause] = self.gap_us_total.get(gap.cause, 0) + gap.end_us - gap.start_us
        announcement = RecordingAnnouncement(self._camera_id, self._worker, AnnouncementKind.GAP, gap=gap)
        subject = subjects.recording(self._camera_id, AnnouncementKind.GAP)
        self._outbox.put(subject, encode(announcement), msg_id=f"{self._camera_id}:gap:{gap.start_us}:{gap.end_us}")

    def _send(self, kind: AnnouncementKind, event: RecordingEvent) -> None:
        file = RecordingFile(
            volume=self._volume,
            path=str(event.path),
            container=event.container,
            parameters=event.params,
            start_us=event.start_us,
            end_us=event.end_us,
            size_bytes=event.size_bytes,
            frames=event.frames,
            fragments=event.fragments,
        )
        announcement = RecordingAnnouncement(self._camera_id, self._worker, kind, file=file)
        self._outbox.put(
            subjects.recording(self._camera_id, kind),
            encode(announcement),
            msg_id=f"{self._camera_id}:{event.path}:{kind}:{event.size_bytes}",
            droppable=kind is AnnouncementKind.PROGRESS,
        )
