"""Simulated cameras: a file in a loop, or a generated scene, served over RTSP by as many cameras as are asked for.

All cameras show the same stream: a frame is read (or drawn and encoded) and packetised once. Camera i of N sends it i/N
of a frame interval later, so that the bursts spread as those of real cameras do. See design/simulator.md.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vms.common.clock import Clock, SystemClock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoParameters
from vms.common.types import FrameRate
from vms.media.clip import load_clip
from vms.media.codec import EncoderSettings
from vms.media.rtsp.feed import FeedSubscription, FrameFeed, FrameSink, StreamDescription
from vms.media.rtsp.server import RtspServer
from vms.media.rtsp.server_session import ServerLimits, ViewerStats
from vms.media.rtsp.url import Credentials
from vms.media.simulate_frames import PatternSource, TimedFrame, clip_frames, pattern_frames

MAX_CAMERAS: Final = 10_000

# A timer of the event loop is no finer than 1 ms; waking up for less would cost more than it spreads.
_SLEEP_FLOOR_SECONDS: Final = 0.002


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """What to serve. ``file`` None means the generated scene, which the fields from ``width`` on describe."""

    file: Path | None = None
    cameras: int = 1
    host: str = "127.0.0.1"
    port: int = 8554
    credentials: Credentials | None = None
    limits: ServerLimits = ServerLimits(clients=MAX_CAMERAS)  # noqa: RUF009 - immutable
    width: int = 1280
    height: int = 720
    fps: int = 25
    bitrate_bps: int = 2_000_000
    gop_seconds: float = 1.0
    noise: float = 0.01


class SimulatedCameras:
    """The stream of all cameras, as a source for `RtspServer`: paths ``cam0`` … ``cam{N-1}``."""

    def __init__(self, description: StreamDescription, cameras: int, clock: Clock) -> None:
        self._description = description
        self._clock = clock
        self._feeds = [FrameFeed() for _ in range(cameras)]
        self._by_path = {f"cam{number}": feed for number, feed in enumerate(self._feeds)}

    async def describe(self, path: str) -> StreamDescription | None:
        """The stream, which is the same for every camera."""
        return self._description if path in self._by_path else None

    def subscribe(self, path: str, sink: FrameSink) -> FeedSubscription | None:
        """Watch one camera."""
        feed = self._by_path.get(path)
        return feed.subscribe(sink) if feed is not None else None

    async def play(self, frames: AsyncGenerator[TimedFrame]) -> None:
        """Send frames when they are due, camera by camera, until there are no more."""
        monotonic = self._clock.monotonic
        count = len(self._feeds)
        async with aclosing(frames):
            async for timed in frames:
                now = monotonic()
                for number, feed in enumerate(self._feeds):
                    ahead = timed.due + timed.interval * number / count - now
                    if ahead > _SLEEP_FLOOR_SECONDS and (number == 0 or feed.watched):
                        await asyncio.sleep(ahead)
                        now = monotonic()
                    feed.publish(timed.frame)
        for feed in self._feeds:
            feed.end()


async def run_simulator(
    settings: SimulatorSettings,
    *,
    clock: Clock = SystemClock(),  # noqa: B008 - stateless
    ready: Callable[[RtspServer], None] | None = None,
    on_session_end: Callable[[ViewerStats], None] | None = None,
) -> None:
    """Serve ``rtsp://host:port/cam0`` … until cancelled; ``ready`` is called with the listening server.

    ``on_session_end`` is told which frames each viewer was sent. Raises VmsError: CONFLICT when the port is in use, and
    what `load_clip` and `Scene` raise for files and sizes that cannot be served.
    """
    if not 1 <= settings.cameras <= MAX_CAMERAS:
        raise VmsError(ErrorKind.INVALID, f"{settings.cameras} cameras cannot be simulated: use 1 to {MAX_CAMERAS}")
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="vms-simulator") as worker:
        loop = asyncio.get_running_loop()
        if settings.file is not None:
            clip = await loop.run_in_executor(worker, load_clip, settings.file)
            description = _description(clip.parameters)
            frames = clip_frames(clip, description, clock)
        else:
            pattern = PatternSource(_encoder_settings(settings), settings.noise)
            description = _description(await loop.run_in_executor(worker, pattern.parameters))
            frames = pattern_frames(pattern, description, clock, worker)
        cameras = SimulatedCameras(description, settings.cameras, clock)
        async with RtspServer(
            settings.host,
            settings.port,
            cameras,
            limits=settings.limits,
            credentials=settings.credentials,
            clock=clock,
            on_session_end=on_session_end,
        ) as server:
            if ready is not None:
                ready(server)
            await cameras.play(frames)


def _encoder_settings(settings: SimulatorSettings) -> EncoderSettings:
    if not (1 <= settings.fps <= 240 and 10_000 <= settings.bitrate_bps <= 500_000_000 and settings.gop_seconds > 0):
        raise VmsError(
            ErrorKind.INVALID, "the scene needs 1 to 240 frames/s, 10 kbit/s to 500 Mbit/s and a GOP longer than 0 s"
        )
    gop = max(1, round(settings.fps * settings.gop_seconds))
    return EncoderSettings(settings.width, settings.height, FrameRate(settings.fps), settings.bitrate_bps, gop)


def _description(parameters: VideoParameters) -> StreamDescription:
    return StreamDescription(parameters, ssrc=secrets.randbits(32), title="VMS simulator")
