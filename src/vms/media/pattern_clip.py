"""The test scene as an MP4 file of a given bit rate, for measurements with realistic traffic."""

from pathlib import Path
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.common.types import FrameRate
from vms.media.codec import EncoderSettings, Mp4Encoder
from vms.media.pattern import Scene

_NOISE: Final = 0.08  # enough detail that x264 needs 4 Mbit/s at 1080p25
_START_US: Final = 1_767_225_600_000_000  # 2026-01-01; a file's stamps cannot be the time it is played
_TOLERANCE: Final = 0.01
_ATTEMPTS: Final = 4


def make_test_clip(
    path: Path,
    *,
    width: int = 1920,
    height: int = 1080,
    fps: int = 25,
    seconds: float = 10,
    bitrate_bps: int = 4_000_000,
    gop: int = 50,
) -> int:
    """Write an H.264 clip without B-frames and return its bit rate, within 1 % of the asked one where x264 can do it.

    Runs for a few seconds on the calling thread. Raises VmsError: INVALID for impossible sizes, STORAGE.
    """
    frames = round(seconds * fps)
    if frames < 1 or gop < 1 or bitrate_bps < 10_000:
        raise VmsError(ErrorKind.INVALID, "a test clip needs at least one frame, a GOP of one and 10000 bit/s")
    ask = bitrate_bps
    best = 0
    for attempt in range(_ATTEMPTS):
        candidate = path.with_name(f".{path.name}.{attempt}")
        settings = EncoderSettings(width, height, FrameRate(fps), ask, gop)
        try:
            reached = _encode(candidate, settings, frames)
            if not best or abs(reached - bitrate_bps) < abs(best - bitrate_bps):
                candidate.replace(path)
                best = reached
        finally:
            candidate.unlink(missing_ok=True)
        if abs(best - bitrate_bps) <= _TOLERANCE * bitrate_bps:
            break
        # x264 overshoots by a few percent at its fastest preset; ask for that much less.
        ask = max(10_000, round(ask * bitrate_bps / reached))
    return best


def _encode(path: Path, settings: EncoderSettings, frames: int) -> int:
    scene = Scene(settings.width, settings.height, _NOISE)
    interval_us = round(1e6 / settings.frame_rate.fps)
    with Mp4Encoder(path, settings) as clip:
        for number in range(frames):
            picture = scene.draw(number, _START_US + number * interval_us)
            clip.add(picture.y, picture.u, picture.v)
    return round(clip.payload_bytes * 8 * settings.frame_rate.fps / frames)
