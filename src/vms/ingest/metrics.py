"""What ingest tells Prometheus; read from plain counters when it asks."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from vms.bus.outbox import Outbox
from vms.ingest.session import CameraSession
from vms.ingest.sessions import Volume
from vms.ingest.track import DiskTrack
from vms.telemetry.metrics import Metric, MetricKind, counter, gauge, labelled

_GAUGE, _COUNTER = MetricKind.GAUGE, MetricKind.COUNTER


def _offset_s(session: CameraSession) -> float | None:
    return None if session.clock_offset_us is None else session.clock_offset_us / 1e6


_CAMERA_METRICS: Final[tuple[tuple[MetricKind, str, str, Callable[[CameraSession], float | None]], ...]] = (
    (_GAUGE, "vms_camera_up", "1 while frames arrive", lambda s: float(s.state.is_up)),
    (_GAUGE, "vms_camera_recording", "1 while frames are being kept", lambda s: float(s.is_recording)),
    (_GAUGE, "vms_camera_fps", "Frames per second, over 5 s", lambda s: s.rates.fps),
    (_GAUGE, "vms_camera_bitrate_bps", "Bits per second received, over 5 s", lambda s: s.rates.bitrate_bps),
    (_COUNTER, "vms_camera_frames_total", "Frames received", lambda s: s.counters.frames),
    (_COUNTER, "vms_camera_bytes_total", "Bytes received", lambda s: s.counters.bytes),
    (_COUNTER, "vms_camera_lost_packets_total", "RTP packets that never came", lambda s: s.counters.lost_packets),
    (_COUNTER, "vms_camera_corrupt_frames_total", "Frames with lost packets", lambda s: s.counters.corrupt_units),
    (_COUNTER, "vms_camera_reconnects_total", "Sessions after the first", lambda s: s.counters.reconnects),
    (_COUNTER, "vms_camera_gaps_total", "Gaps in the recording", lambda s: s.track.gaps_total if s.track else 0),
    (_GAUGE, "vms_camera_clock_offset_seconds", "Camera clock minus host clock", _offset_s),
    (_GAUGE, "vms_camera_ring_bytes", "Bytes in the memory ring", lambda s: s.ring.size_bytes),
    (
        _GAUGE,
        "vms_recording_behind_seconds",
        "Footage that waits for the disk",
        lambda s: s.track.behind_s if s.track else 0,
    ),
)


class IngestMetrics:
    """Metric source of the ingest service."""

    def __init__(
        self, sessions: Callable[[], Iterable[CameraSession]], volumes: Mapping[str, Volume], outbox: Outbox
    ) -> None:
        self._sessions = sessions
        self._volumes = volumes
        self._outbox = outbox

    def __call__(self) -> Iterator[Metric]:
        """All families."""
        sessions = list(self._sessions())
        yield gauge("vms_ingest_cameras", "Cameras that run on this worker", len(sessions))
        for kind, name, meaning, read in _CAMERA_METRICS:
            samples = [((s.config.id,), float(value)) for s in sessions if (value := read(s)) is not None]
            yield Metric(name, kind, meaning, ("camera",), samples)
        yield from self._recording(sessions)
        yield from self._volume_metrics()
        yield gauge("vms_ingest_outbox_messages", "Announcements that wait for the bus", self._outbox.waiting)
        yield counter("vms_ingest_outbox_dropped_total", "Announcements dropped", self._outbox.dropped)

    def _recording(self, sessions: list[CameraSession]) -> Iterator[Metric]:
        tracks = [(str(s.config.id), s.track) for s in sessions if isinstance(s.track, DiskTrack)]
        written = {camera: float(track.announcer.bytes_total) for camera, track in tracks}
        yield labelled(_COUNTER, "vms_recording_bytes_total", "Bytes written to disk", label="camera", values=written)
        fragments = {camera: float(track.announcer.fragments_total) for camera, track in tracks}
        yield labelled(
            _COUNTER, "vms_recording_fragments_total", "Fragments written to disk", label="camera", values=fragments
        )
        lost = {camera: float(track.recorder.fragments_lost) for camera, track in tracks}
        yield labelled(
            _COUNTER,
            "vms_recording_fragments_lost_total",
            "Fragments the disk did not take",
            label="camera",
            values=lost,
        )
        causes = [
            ((camera, cause), us / 1e6)
            for camera, track in tracks
            for cause, us in track.announcer.gap_us_total.items()
        ]
        yield Metric(
            "vms_camera_gap_seconds_total", _COUNTER, "Time that is not on disk, by cause", ("camera", "cause"), causes
        )

    def _volume_metrics(self) -> Iterator[Metric]:
        volumes = self._volumes.values()
        queued = {v.name: float(v.writer.queued_bytes) for v in volumes}
        yield labelled(_GAUGE, "vms_volume_queue_bytes", "Bytes that wait for the disk", label="volume", values=queued)
        longest = {v.name: v.writer.take_longest_s() for v in volumes}
        yield labelled(
            _GAUGE,
            "vms_volume_longest_write_seconds",
            "Longest write since the last scrape",
            label="volume",
            values=longest,
        )
        failed = {v.name: float(v.writer.failed_jobs) for v in volumes}
        yield labelled(_COUNTER, "vms_volume_failed_jobs_total", "Jobs that failed", label="volume", values=failed)
