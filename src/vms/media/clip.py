"""A video clip in memory, ready to be sent in a loop: exact timing in decoding order, B-frames included."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoParameters
from vms.media.codec import CodedPicture, open_video
from vms.media.nal import split_lengths

MAX_CLIP_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """One access unit. Times in ticks of the clip's time base from the start of the loop; ``dts`` never decreases.

    ``pts`` is at or after ``dts``: it is the time of output when decoding starts at 0.
    """

    pts: int
    dts: int
    keyframe: bool
    payload: bytes


@dataclass(frozen=True, slots=True)
class Clip:
    """A loop of access units that begins with a keyframe; the loop repeats every ``duration`` ticks."""

    parameters: VideoParameters
    time_base: Fraction  # seconds per tick
    duration: int
    frames: tuple[ClipFrame, ...]

    @property
    def reorder_ticks(self) -> int:
        """How long output lags decoding at most: the capture of a frame is that much before its ``pts``."""
        return max(frame.pts - frame.dts for frame in self.frames)


def load_clip(path: Path) -> Clip:
    """Read the video of a file. Raises VmsError as `open_video`, INVALID when it is empty or over 256 MB."""
    pictures: list[CodedPicture] = []
    size = 0
    video = open_video(path)
    for picture in video.access_units():
        if not pictures and not picture.keyframe:
            continue  # decoding cannot start here
        if not any(split_lengths(picture.payload)):
            raise VmsError(ErrorKind.CORRUPT, f"{path} holds a picture without data (number {len(pictures)})")
        pictures.append(picture)
        size += len(picture.payload)
        if size > MAX_CLIP_BYTES:
            raise VmsError(
                ErrorKind.INVALID,
                f"{path} holds more than {MAX_CLIP_BYTES >> 20} MB of video: cut it, "
                f"ffmpeg -i {path.name} -t 60 -c copy short.mp4",
            )
    if not pictures:
        raise VmsError(ErrorKind.INVALID, f"{path} holds no keyframe")
    return clip_of(video.parameters(), video.time_base, pictures)


def clip_of(parameters: VideoParameters, time_base: Fraction, pictures: list[CodedPicture]) -> Clip:
    """Derive decoding times and the length of the loop from output times alone.

    Containers disagree about decoding times (some have none), but output times determine them: the frames are decoded
    at the sorted output times, early enough that each is decoded when it is due.
    """
    order = sorted(picture.pts for picture in pictures)
    lag = max(due - picture.pts for due, picture in zip(order, pictures, strict=True))
    first = order[0]
    frames = tuple(
        ClipFrame(picture.pts - first + lag, due - first, picture.keyframe, picture.payload)
        for due, picture in zip(order, pictures, strict=True)
    )
    return Clip(parameters, time_base, order[-1] - first + _last_duration(pictures, order), frames)


def _last_duration(pictures: list[CodedPicture], order: list[int]) -> int:
    """How long the last picture in output order is shown."""
    last = max(pictures, key=lambda picture: picture.pts)
    if last.duration > 0:
        return last.duration
    steps = sorted(b - a for a, b in pairwise(order) if b > a)
    return steps[len(steps) // 2] if steps else 1
