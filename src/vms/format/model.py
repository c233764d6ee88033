"""What the recording format speaks of: fragments in, index records, samples and events out."""

from dataclasses import dataclass
from operator import sub
from pathlib import PurePosixPath
from typing import NamedTuple

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, Container, VideoParameters
from vms.common.types import CameraId

Buffer = bytes | memoryview
"""What may be handed to ``os.pwritev`` without a copy."""

_INT32_MAX = 2**31 - 1


@dataclass(slots=True)
class Fragment:
    """About one second of access units in decode order, written with one system call.

    ``duration_90k`` is the sum of the samples' durations; only the last sample's share of it is an estimate, since its
    successor is not known yet. ``wall_us`` is the capture time of the first unit. ``flags`` are FrameFlag bits.
    """

    units: list[AccessUnit]
    duration_90k: int
    wall_us: int
    flags: int = 0


class IndexRecord(NamedTuple):
    """Where one fragment is and what it covers. Media time counts from the start of its file."""

    wall_start_us: int
    media_start_90k: int
    offset: int
    size: int
    duration_90k: int
    frames: int
    flags: int

    @property
    def wall_end_us(self) -> int:
        """Wall time at which the fragment's last frame ends."""
        return self.wall_start_us + us_from_90k(self.duration_90k)

    @property
    def media_end_90k(self) -> int:
        """File media time at which the fragment's last frame ends."""
        return self.media_start_90k + self.duration_90k


class Sample(NamedTuple):
    """One frame inside a media file. ``offset`` is from the start of the file; times are file media time."""

    offset: int
    size: int
    dts_90k: int
    pts_90k: int
    duration_90k: int
    is_keyframe: bool


@dataclass(slots=True)
class SampleTable:
    """The columns that a container writes for a fragment; all lists have one entry per frame, in decode order."""

    payloads: list[Buffer]
    sizes: list[int]
    durations_90k: list[int]
    composition_90k: list[int]  # pts − dts
    keyframes: list[int]  # 1 or 0

    @property
    def duration_90k(self) -> int:
        """Sum of the durations."""
        return sum(self.durations_90k)


@dataclass(slots=True, kw_only=True)
class RecordingEvent:
    """Something happened to a recording on disk; the fields describe the whole file as it is now."""

    camera_id: CameraId
    path: PurePosixPath  # of the media file, relative to the root of the volume
    container: Container
    params: VideoParameters
    start_us: int
    end_us: int
    size_bytes: int
    frames: int
    fragments: int


@dataclass(slots=True, kw_only=True)
class SegmentOpened(RecordingEvent):
    """A file was begun, or an unfinished one is being appended to again (then ``frames`` is not 0)."""


@dataclass(slots=True, kw_only=True)
class FragmentWritten(RecordingEvent):
    """A fragment and its index record are in the file (in the page cache; durable at the next sync)."""

    record: IndexRecord


@dataclass(slots=True, kw_only=True)
class SegmentClosed(RecordingEvent):
    """A file is complete and durable. May be announced again for a file that a crashed process left behind."""


def us_from_90k(ticks_90k: int) -> int:
    """Microseconds in so many 90 kHz ticks, to the nearest."""
    return (ticks_90k * 100 + 4) // 9


def ticks_from_us(us: int) -> int:
    """90 kHz ticks in so many microseconds, to the nearest."""
    return (us * 9 + 50) // 100


def sample_table(fragment: Fragment) -> SampleTable:
    """The columns of a fragment. Raises VmsError(INVALID) when its times cannot be stored."""
    units = fragment.units
    dts = [unit.dts_90k for unit in units]
    durations = list(map(sub, dts[1:], dts))
    # A caller whose estimate is behind the frames it already has still gets its frames written.
    durations.append(max(1, fragment.duration_90k - dts[-1] + dts[0]))
    composition = [unit.pts_90k - unit.dts_90k for unit in units]
    if min(durations) < 0 or max(durations) > _INT32_MAX:
        raise VmsError(ErrorKind.INVALID, f"decode times run from {dts[0]} to {dts[-1]} but not in order")
    if not -_INT32_MAX <= min(composition) <= max(composition) <= _INT32_MAX:
        raise VmsError(ErrorKind.INVALID, "presentation and decode time of a frame are more than six hours apart")
    payloads: list[Buffer] = [unit.payload for unit in units]
    return SampleTable(payloads, list(map(len, payloads)), durations, composition, [unit.flags & 1 for unit in units])
