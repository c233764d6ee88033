"""A frame's whole way through ingest except the kernel: receive, unit, ring, fragment; against the bare receive loop.

    python -m benchmarks.frame_path [--cameras 60] [--seconds 6] [--json]

Many cameras take turns, as they do on a tick, so that caches are as cold as in the service. The disk is not there: the
volume takes jobs and forgets them. Every camera's frames are counted, and its fragments must hold them all.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.rtp_receive import FPS, BareLoop, make_bursts, make_frames

from vms.common.camera import CameraConfig
from vms.common.clock import ManualClock
from vms.common.settings import LogSettings
from vms.common.stream import AccessUnit, Container, VideoCodec, VideoParameters
from vms.common.types import CameraId
from vms.format.model import Fragment
from vms.format.recording import RecordingWriter
from vms.format.volume import VolumeWriter
from vms.ingest.config import IngestSettings
from vms.ingest.recorder import StreamRecorder
from vms.ingest.session import CameraSession
from vms.media.rtp.payload import make_receiver
from vms.media.rtp.units import UnitBuilder
from vms.media.rtsp.tick_reader import TickReader
from vms.telemetry.logging import configure_logging

_REPEATS = 7


class NoDisk(VolumeWriter):
    """Takes every job and runs none."""

    def submit(self, job: Callable[[], None], nbytes: int, on_error: Callable[[Exception], None] | None = None) -> bool:
        """Say that it was taken."""
        return True


class NoLive:
    """Nobody watches."""

    wanted = False

    def expire(self) -> None:
        """Nothing runs out."""

    def publish(self, unit: AccessUnit, parameters: VideoParameters) -> None:
        """Not called."""


class Track:
    """The recorder alone, as DiskTrack has it."""

    error = None
    behind_s = 0.0
    is_recording = True
    gaps_total = 0

    def __init__(self, clock: ManualClock) -> None:
        self.recorder = StreamRecorder(
            RecordingWriter(Path("/nonexistent"), CameraId("cam"), container=Container.MP4),
            NoDisk("none", 1 << 30),
            clock=clock,
            fragment_s=1.0,
            hold_s=1e9,
            on_event=lambda _: None,
            on_interruption=lambda _: None,
        )
        self.add = self.recorder.add
        self.set_parameters = self.recorder.set_parameters

    def flush(self) -> None:
        """Not called."""

    def interrupted(self, cause: object, detail: str) -> None:
        """Not called."""

    async def run(self) -> None:
        """Not called."""


class Camera:
    """One camera as the service has it, without its socket."""

    def __init__(self, clock: ManualClock, number: int) -> None:
        config = CameraConfig(id=CameraId(f"cam{number}"), name="cam", url="rtsp://127.0.0.1/cam")
        self.track = Track(clock)
        self.session = CameraSession(
            config,
            settings=IngestSettings(),
            reader=TickReader(),
            clock=clock,
            worker="bench",
            track=self.track,
            live=NoLive(),
            on_change=lambda _: None,
        )
        builder = UnitBuilder(VideoCodec.H264, (), self.session._on_parameters, self.session._on_unit)
        self.builder = builder
        self.receiver = make_receiver(
            VideoCodec.H264, payload_type=96, channels=(0, 1), builder=builder, on_message=lambda _: None
        )

    def feed(self, data: bytes, now_us: int) -> None:
        """What the tick reader does, with the bytes already there."""
        receiver = self.receiver
        receiver.writable()[: len(data)] = data
        receiver.received(len(data), now_us)

    def fragments(self) -> list[Fragment]:
        """What waits for the disk."""
        return [waiting.fragment for waiting in self.track.recorder._waiting]


def full_run(cameras: int, bursts: list[bytes]) -> float:
    """CPU seconds for all bursts through all cameras; checks that every frame arrived."""
    clock = ManualClock()
    sessions = [Camera(clock, n) for n in range(cameras)]
    start = time.process_time()
    for burst in bursts:
        clock.advance(1 / FPS)
        now_us = clock.now_us()
        for camera in sessions:
            camera.feed(burst, now_us)
    spent = time.process_time() - start
    for camera in sessions:
        camera.receiver.finish()
        camera.track.recorder.flush()
        assert camera.builder.units == len(bursts)
        assert sum(len(fragment.units) for fragment in camera.fragments()) == len(bursts)
    return spent


def bare_run(cameras: int, bursts: list[bytes]) -> float:
    """The same by the bare loop, which keeps the frames of as many seconds as the ring."""
    from collections import deque

    loops = [BareLoop(deque(maxlen=8 * FPS)) for _ in range(cameras)]
    start = time.process_time()
    for burst in bursts:
        for loop in loops:
            loop.feed(burst)
    return time.process_time() - start


def main() -> None:
    """Print µs per frame of both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=60)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    configure_logging(LogSettings(level="error"), service="benchmark")
    bursts = make_bursts(make_frames(arguments.seconds * FPS))
    count = arguments.cameras * len(bursts)
    bare = full = float("inf")
    for _ in range(_REPEATS):
        bare = min(bare, bare_run(arguments.cameras, bursts))
        full = min(full, full_run(arguments.cameras, bursts))
    result = {
        "us_per_frame": round(full / count * 1e6, 2),
        "bare_us_per_frame": round(bare / count * 1e6, 2),
        "ratio": round(full / bare, 3),
    }
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"ingest {result['us_per_frame']} µs/frame, bare loop {result['bare_us_per_frame']}, ratio {result['ratio']}")


if __name__ == "__main__":
    main()
