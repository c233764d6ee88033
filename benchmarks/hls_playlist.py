"""How long the HLS playlist of one hour takes: 3600 fragments, from the catalogue row and the index on disk.

    python benchmarks/hls_playlist.py [--json]

Fails when the median is over the limit of 20 ms, or when the playlist is not the one of the whole hour. The peer is
ffmpeg's HLS muxer, which has to read the file; with `--json` the figures come as one JSON object.
"""

import argparse
import asyncio
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vms.common.stream import AccessUnit, Container, VideoCodec, VideoParameters
from vms.common.types import CameraId
from vms.common.volumes import VolumeSettings
from vms.db.engine import make_engine, make_sessions, sqlite_url
from vms.db.migrate import ensure_migrated
from vms.format.model import Fragment
from vms.format.recording import RecordingWriter
from vms.storage.playback import Playback
from vms.storage.reconcile import rebuild_catalogue
from vms.storage.repository import CatalogueRepository
from vms.storage.segments import Span
from vms.storage.threads import FileThreads
from vms.storage.volumes import Volumes

LIMIT_MS = 20.0
FRAGMENTS = 3600
FPS = 5  # the number of frames changes nothing in a playlist; fewer make the file sooner
START_US = 1_772_359_200_000_000
CAMERA = CameraId("cam_bench")
PARAMS = VideoParameters(
    VideoCodec.H264, 320, 240, bytes.fromhex("0142c00dffe100046742c00d01000468ce3880"), "avc1.42c00d", 25.0
)


def write_hour(root: Path, container: Container) -> None:
    """One hour of one-second fragments with a keyframe every two."""
    writer = RecordingWriter(root, CAMERA, container=container)
    tick = 90_000 // FPS
    payload = (46).to_bytes(4, "big") + b"\x41" + bytes(range(1, 46))
    key = payload[:4] + b"\x65" + payload[5:]
    for number in range(FRAGMENTS):
        is_key = number % 2 == 0
        units = []
        for index in range(FPS):
            dts = (number * FPS + index) * tick
            starts = is_key and index == 0
            units.append(
                AccessUnit(index, dts, dts, START_US + dts * 100 // 9, int(starts), key if starts else payload)
            )
        writer.write(PARAMS, Fragment(units, 90_000, START_US + number * 1_000_000, int(is_key)), 0.0)
    writer.close()


async def measure(container: Container, rounds: int) -> tuple[list[float], str]:
    """Milliseconds per playlist, database query and file reads included, and the playlist."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        await asyncio.to_thread(write_hour, root, container)
        volumes = [VolumeSettings(name="main", path=root)]
        url = sqlite_url(root / "vms.sqlite")
        await rebuild_catalogue(volumes, url)
        await ensure_migrated(url)
        engine = make_engine(url)
        span = Span(START_US, START_US + FRAGMENTS * 1_000_000)
        times = []
        text = ""
        with FileThreads(2) as threads:
            playback = Playback(CatalogueRepository(make_sessions(engine)), Volumes(volumes), threads)
            for _ in range(rounds + 1):
                began = time.perf_counter()
                text = await playback.playlist(CAMERA, span)
                times.append((time.perf_counter() - began) * 1000)
        await engine.dispose()
        return times[1:], text


def peer_ms() -> float | None:
    """ffmpeg making the same playlist with the same byte ranges out of the same file."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return None
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        write_hour(root, Container.MP4)
        media = next(root.glob("cameras/*/*/video*"))
        command = [ffmpeg, "-v", "quiet", "-i", str(media), "-c", "copy", "-f", "hls", "-hls_segment_type", "fmp4"]
        command += ["-hls_flags", "single_file", "-hls_time", "4", "-hls_list_size", "0", str(root / "peer.m3u8")]
        began = time.perf_counter()
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL)
        return (time.perf_counter() - began) * 1000 if done.returncode == 0 else None


def check(text: str) -> None:
    """The playlist must be of the whole hour."""
    total = sum(float(value) for value in re.findall(r"#EXTINF:([\d.]+)", text))
    assert abs(total - FRAGMENTS) < 1, f"the playlist covers {total} s"
    assert text.count("#EXTINF") == FRAGMENTS // 4


def main() -> int:
    """Measure both containers and the peer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    figures: dict[str, float | None] = {}
    for container in Container:
        times, text = asyncio.run(measure(container, options.rounds))
        check(text)
        figures[f"{container}_median_ms"] = round(statistics.median(times), 2)
        figures[f"{container}_worst_ms"] = round(max(times), 2)
    peer = peer_ms()
    figures["ffmpeg_ms"] = None if peer is None else round(peer, 1)
    figures["limit_ms"] = LIMIT_MS
    if options.json:
        print(json.dumps({"fragments": FRAGMENTS, **figures}))
    else:
        for name, value in figures.items():
            print(f"{name:16} {value}")
    medians = [figures[f"{container}_median_ms"] for container in Container]
    return 0 if all(median is not None and median <= LIMIT_MS for median in medians) else 1


if __name__ == "__main__":
    sys.exit(main())
