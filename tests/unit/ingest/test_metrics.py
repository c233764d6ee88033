from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from tests.support.ingest import FakeOutbox, camera
from tests.support.recordings import CAMERA

from vms.common.camera import CameraState
from vms.common.clock import ManualClock
from vms.format.volume import VolumeWriter
from vms.ingest.metrics import IngestMetrics
from vms.ingest.rates import RateMeter
from vms.ingest.ring import FrameRing
from vms.ingest.session import CameraSession, SessionCounters
from vms.ingest.sessions import Volume
from vms.ingest.state import SessionState
from vms.ingest.track import DiskTrack
from vms.telemetry.metrics import MetricKind, MetricsRegistry


def session(name: str, track: object | None, *, offset_us: int | None = None) -> CameraSession:
    """What metrics read of a session."""
    return cast(
        "CameraSession",
        SimpleNamespace(
            config=camera(name),
            state=SessionState(CameraState.ONLINE, 1),
            is_recording=track is not None,
            rates=RateMeter(),
            counters=SessionCounters(frames=100, bytes=2000, lost_packets=3, corrupt_units=2, reconnects=1),
            ring=FrameRing(seconds=8, max_bytes=1000),
            track=track,
            clock_offset_us=offset_us,
        ),
    )


def disk_track() -> DiskTrack:
    recorder = SimpleNamespace(behind_s=1.5, fragments_lost=4, error=None, add=None)
    announcer = SimpleNamespace(
        bytes_total=999, fragments_total=9, gaps_total=2, gap_us_total={"network": 3_000_000}, last_written_us=1
    )
    return DiskTrack(recorder, announcer)  # type: ignore[arg-type]


@pytest.fixture
def text() -> str:
    """A scrape of one camera that is recorded and one that is only watched."""
    volume = Volume("main", Path("/srv"), VolumeWriter("main", 1000, ManualClock()))
    sessions = [session(CAMERA, disk_track(), offset_us=-250_000), session("watched", None)]
    registry = MetricsRegistry()
    registry.add(IngestMetrics(lambda: sessions, {"main": volume}, FakeOutbox(waiting=5, dropped=6).as_outbox()))
    return registry.render().decode()


@pytest.mark.parametrize(
    "line",
    [
        "vms_ingest_cameras 2.0",
        f'vms_camera_up{{camera="{CAMERA}"}} 1.0',
        'vms_camera_recording{camera="watched"} 0.0',
        f'vms_camera_frames_total{{camera="{CAMERA}"}} 100.0',
        f'vms_camera_bytes_total{{camera="{CAMERA}"}} 2000.0',
        f'vms_camera_lost_packets_total{{camera="{CAMERA}"}} 3.0',
        f'vms_camera_corrupt_frames_total{{camera="{CAMERA}"}} 2.0',
        f'vms_camera_reconnects_total{{camera="{CAMERA}"}} 1.0',
        f'vms_camera_gaps_total{{camera="{CAMERA}"}} 2.0',
        f'vms_camera_clock_offset_seconds{{camera="{CAMERA}"}} -0.25',
        f'vms_recording_behind_seconds{{camera="{CAMERA}"}} 1.5',
        f'vms_recording_bytes_total{{camera="{CAMERA}"}} 999.0',
        f'vms_recording_fragments_total{{camera="{CAMERA}"}} 9.0',
        f'vms_recording_fragments_lost_total{{camera="{CAMERA}"}} 4.0',
        f'vms_camera_gap_seconds_total{{camera="{CAMERA}",cause="network"}} 3.0',
        'vms_volume_queue_bytes{volume="main"} 0.0',
        'vms_volume_failed_jobs_total{volume="main"} 0.0',
        "vms_ingest_outbox_messages 5.0",
        "vms_ingest_outbox_dropped_total 6.0",
    ],
)
def test_a_scrape_says_what_the_contract_promises(line: str, text: str) -> None:
    assert line in text.splitlines()


def test_what_is_not_known_is_left_out_instead_of_zero(text: str) -> None:
    assert 'vms_camera_clock_offset_seconds{camera="watched"}' not in text
    assert 'vms_recording_bytes_total{camera="watched"}' not in text


def test_names_and_labels_follow_the_conventions() -> None:
    metrics = list(IngestMetrics(lambda: [session("a", disk_track())], {}, FakeOutbox().as_outbox())())
    assert len({metric.name for metric in metrics}) == len(metrics)
    for metric in metrics:
        assert metric.name.startswith("vms_")
        assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
        assert set(metric.labels) <= {"camera", "volume", "cause"}


def test_the_longest_write_is_told_once() -> None:
    def longest() -> Iterator[float]:
        yield from (2.5, 0.0)

    values = longest()
    writer = SimpleNamespace(queued_bytes=0, failed_jobs=0, take_longest_s=lambda: next(values))
    volume = Volume("main", Path("/srv"), cast("VolumeWriter", writer))
    metrics = IngestMetrics(list, {"main": volume}, FakeOutbox().as_outbox())
    told = [
        metric.samples for _ in range(2) for metric in metrics() if metric.name == "vms_volume_longest_write_seconds"
    ]
    assert told == [[(("main",), 2.5)], [(("main",), 0.0)]]
