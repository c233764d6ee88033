"""Where simulated cameras get their frames: a clip in a loop, or the generated scene, on an absolute schedule."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from vms.common.clock import Clock
from vms.common.stream import VideoCodec, VideoParameters
from vms.media.clip import Clip
from vms.media.codec import CodedPicture, Encoder, EncoderSettings
from vms.media.extradata import parameters_of
from vms.media.nal import split_lengths
from vms.media.pattern import Scene
from vms.media.rtsp.feed import Frame, Packetizer, StreamDescription

# After a pause longer than this (suspended machine, debugger) the schedule starts anew instead of sending a burst.
_MAX_LAG_SECONDS: Final = 2.0
# A wall clock that moves this much against the monotonic one was stepped.
_CLOCK_STEP_US: Final = 50_000


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """A frame, when to send it (seconds of the monotonic clock), and how long until the next one."""

    frame: Frame
    due: float
    interval: float


class Timeline:
    """Media time to both clocks: an absolute schedule, so that lateness never adds up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start = clock.monotonic()
        self._start_us = clock.now_us()

    def due(self, media_seconds: float) -> float:
        """When that media time is, in seconds of the monotonic clock."""
        return self._start + media_seconds

    def wall_us(self, media_us: int) -> int:
        """When that media time is, in wall time."""
        return self._start_us + media_us

    def follow(self, media_seconds: float) -> None:
        """Check the clocks as ``media_seconds`` comes up; after a long pause or a clock step, start from now."""
        elapsed = self._clock.monotonic() - self._start
        if elapsed - media_seconds > _MAX_LAG_SECONDS:
            self._start += elapsed - media_seconds
            self._start_us += round((elapsed - media_seconds) * 1e6)
            elapsed = media_seconds
        step_us = self._clock.now_us() - self._start_us - round(elapsed * 1e6)
        if abs(step_us) > _CLOCK_STEP_US:
            self._start_us += step_us


class PatternSource:
    """Draws and encodes the test scene. Every method is slow and runs on one worker thread."""

    def __init__(self, settings: EncoderSettings, noise: float) -> None:
        self.settings = settings
        self._noise = noise
        self._encoder = Encoder(settings)
        self._scene: Scene | None = None

    def parameters(self) -> VideoParameters:
        """What every keyframe will say, found by encoding one. Raises VmsError(INVALID) for impossible settings."""
        picture = self._drawn().draw(0, 0)
        (first,) = Encoder(self.settings).encode(picture.y, picture.u, picture.v, 0)
        return parameters_of(VideoCodec.H264, list(split_lengths(first.payload)))

    def capture(self, number: int, capture_us: int) -> list[CodedPicture]:
        """Picture ``number``, whose stamp and clock say ``capture_us``."""
        picture = self._drawn().draw(number, capture_us)
        return self._encoder.encode(picture.y, picture.u, picture.v, number)

    def _drawn(self) -> Scene:
        if self._scene is None:
            self._scene = Scene(self.settings.width, self.settings.height, self._noise)
        return self._scene


async def clip_frames(clip: Clip, description: StreamDescription, clock: Clock) -> AsyncGenerator[TimedFrame]:
    """The clip without end: RTP timestamps and sequence numbers go on across the loop, times are exact.

    A frame is due at its decoding time; its capture time precedes that by what reordering costs.
    """
    packetizer = _packetizer(description)
    timeline = Timeline(clock)
    numerator, denominator = clip.time_base.numerator, clip.time_base.denominator
    reorder = clip.reorder_ticks
    decode_times = [frame.dts for frame in clip.frames]
    intervals = [
        (following - dts) * numerator / denominator
        for dts, following in zip(decode_times, [*decode_times[1:], clip.duration], strict=True)
    ]
    loop_start = 0
    while True:
        for unit, interval in zip(clip.frames, intervals, strict=True):
            media_seconds = (loop_start + unit.dts) * numerator / denominator
            timeline.follow(media_seconds)
            ticks = loop_start + unit.pts
            frame = packetizer.frame(
                unit.payload,
                pts_90k=_rounded(ticks * numerator * 90_000, denominator),
                capture_us=timeline.wall_us((ticks - reorder) * numerator * 1_000_000 // denominator),
                keyframe=unit.keyframe,
            )
            yield TimedFrame(frame, timeline.due(media_seconds), interval)
            await asyncio.sleep(0)  # when late, the server must get its turn between frames
        loop_start += clip.duration


async def pattern_frames(
    source: PatternSource, description: StreamDescription, clock: Clock, worker: Executor
) -> AsyncGenerator[TimedFrame]:
    """The scene, live: each picture is captured when its time has come, and due as soon as it is encoded.

    The next picture is captured while the one before is being sent. When the machine is too slow, pictures are left out
    and their numbers with them.
    """
    packetizer = _packetizer(description)
    timeline = Timeline(clock)
    rate = source.settings.frame_rate
    interval = 1 / rate.fps
    number = 0
    capture = asyncio.create_task(_capture(source, number, timeline, clock, worker), name="simulator-capture")
    try:
        while True:
            pictures, capture_us = await capture
            captured = number
            number = max(number + 1, int((clock.monotonic() - timeline.due(0)) * rate.fps))
            capture = asyncio.create_task(_capture(source, number, timeline, clock, worker), name="simulator-capture")
            for picture in pictures:
                frame = packetizer.frame(
                    picture.payload,
                    pts_90k=_rounded(captured * rate.denominator * 90_000, rate.numerator),
                    capture_us=capture_us,
                    keyframe=picture.keyframe,
                )
                yield TimedFrame(frame, clock.monotonic(), interval)
    finally:
        capture.cancel()
        await asyncio.wait([capture])


async def _capture(
    source: PatternSource, number: int, timeline: Timeline, clock: Clock, worker: Executor
) -> tuple[list[CodedPicture], int]:
    rate = source.settings.frame_rate
    media_us = number * rate.denominator * 1_000_000 // rate.numerator
    timeline.follow(media_us / 1e6)
    await asyncio.sleep(max(0.0, timeline.due(media_us / 1e6) - clock.monotonic()))
    capture_us = timeline.wall_us(media_us)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(worker, source.capture, number, capture_us), capture_us


def _packetizer(description: StreamDescription) -> Packetizer:
    # RFC 3550 §5.1: both start at random.
    return Packetizer(description, sequence=secrets.randbits(16), first_timestamp=secrets.randbits(32))


def _rounded(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)
