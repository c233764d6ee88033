"""What an ingest says of itself, and what it really left on disk."""

import urllib.request
from dataclasses import dataclass
from pathlib import Path

from vms.format import layout
from vms.format.index import IndexView


@dataclass(frozen=True, slots=True)
class IngestFacts:
    """Sums over all cameras, from ``/metrics``."""

    online: int
    ring_bytes: int
    lost_packets: int


def ingest_facts(port: int) -> IngestFacts | None:
    """Ask the ingest service; None while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            text = reply.read().decode()
    except OSError:
        return None
    return IngestFacts(
        online=_sum(text, "vms_camera_up"),
        ring_bytes=_sum(text, "vms_camera_ring_bytes"),
        lost_packets=_sum(text, "vms_camera_lost_packets_total"),
    )


def recorded_frames(root: Path, interval_90k: int) -> tuple[int, int]:
    """Frames that the cameras sent between their first and last recorded one, and frames on disk.

    The first is computed from media time, which comes from the cameras' own timestamps: a lost frame widens the span
    without adding to the count.
    """
    expected = recorded = 0
    for path in sorted(root.glob(f"{layout.CAMERAS_DIRECTORY}/*/*/*{layout.INDEX_SUFFIX}")):
        records = IndexView.load(path)
        if not len(records):
            continue
        recorded += sum(record.frames for record in records)
        expected += round((records[-1].media_end_90k - records[0].media_start_90k) / interval_90k)
    return expected, recorded


def _sum(text: str, name: str) -> int:
    lines = (line for line in text.splitlines() if line.startswith(f"{name}{{"))
    return round(sum(float(line.rpartition(" ")[2]) for line in lines))
