"""What writing a fragment costs beyond the bytes themselves: ``python benchmarks/format_write.py [--json]``.

Writes the same frames (25 per fragment, 4 Mbit/s) with one bare ``os.writev`` per fragment and with RecordingWriter in
both containers, in rounds that alternate, and compares the CPU time of the best round of each. Checks that every
fragment is in the index, that the index equals one rebuilt from the media file, and that the difference stays within
the limit of the design.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from vms.common.stream import AccessUnit, Container, VideoCodec, VideoParameters
from vms.common.types import CameraId
from vms.format import layout
from vms.format.model import Fragment
from vms.format.recording import RecordingWriter
from vms.format.repair import rebuild_index

FRAMES = 25
FRAME_BYTES = 20_000
FRAGMENTS = 100
ROUNDS = 7
LIMIT_US = 100.0  # of CPU per fragment beyond the bare write; design: 50 to 80 on the reference machine
START_US = 1_772_359_200_000_000
PARAMS = VideoParameters(
    VideoCodec.H264, 1920, 1080, bytes.fromhex("0164002affe1000467640010010002ce38"), "avc1.64002a"
)


def main() -> int:
    """Run the benchmark; 1 when a result is wrong or over the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--directory", help="where to write (default: the temporary directory)")
    arguments = parser.parse_args()
    fragments = [_fragment(number) for number in range(FRAGMENTS)]
    rounds: dict[str, list[float]] = {"writev": [], "mp4": [], "mkv": []}
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        for number in range(ROUNDS):
            root = Path(directory, str(number))
            root.mkdir()
            rounds["writev"].append(_bare(root / "bare", fragments))
            for container in Container:
                rounds[container].append(_recorded(root / container, fragments, container))
            for path in sorted(root.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
    cpu_us = {name: min(values) / FRAGMENTS * 1e6 for name, values in rounds.items()}
    extra_us = {name: cpu_us[name] - cpu_us["writev"] for name in ("mp4", "mkv")}
    result = {"frames": FRAMES, "cpu_us_per_fragment": cpu_us, "beyond_writev_us": extra_us, "limit_us": LIMIT_US}
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in cpu_us.items():
            print(f"{name:>7} {value:7.1f} µs of CPU per fragment, {1e6 / value:7.0f} fragments/s on one core")
    return int(max(extra_us.values()) > LIMIT_US)


def _fragment(number: int) -> Fragment:
    first = number * FRAMES
    payload = (FRAME_BYTES - 4).to_bytes(4, "big") + os.urandom(FRAME_BYTES - 4)
    units = [
        AccessUnit(i, i * 3600, i * 3600, START_US + i * 40_000, int(i == first), payload)
        for i in range(first, first + FRAMES)
    ]
    return Fragment(units, FRAMES * 3600, START_US + number * 1_000_000, 1)


def _bare(path: Path, fragments: list[Fragment]) -> float:
    buffers = [[unit.payload for unit in fragment.units] for fragment in fragments]
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    began = time.process_time()
    for row in buffers:
        written = os.writev(fd, row)
        if written != FRAMES * FRAME_BYTES:
            raise OSError(f"short write of {written} bytes: the disk is full")
    took = time.process_time() - began
    os.close(fd)
    return took


def _recorded(root: Path, fragments: list[Fragment], container: Container) -> float:
    # The file is begun before the measurement: opening one is a cost per hour, not per fragment.
    writer = RecordingWriter(root, CameraId("cam_bench"), container=container, sync_interval_s=1e9)
    opened = writer.write(PARAMS, fragments[0], 0.0)
    began = time.process_time()
    for fragment in fragments[1:]:
        writer.write(PARAMS, fragment, 0.0)
    took = time.process_time() - began
    closed = writer.close()[-1]
    media_path = root / opened[0].path
    if (
        closed.frames != FRAMES * len(fragments)
        or rebuild_index(media_path) != layout.index_path(media_path).read_bytes()
    ):
        raise SystemExit(f"{media_path}: the recording is not what was written")
    return took * len(fragments) / (len(fragments) - 1)


if __name__ == "__main__":
    sys.exit(main())
