"""Cuts a stream of access units into fragments: at every keyframe, and before a second is full."""

from typing import Final

from vms.common.stream import AccessUnit, FrameFlag
from vms.format.model import Fragment

# Plain integers: an IntFlag operation costs a microsecond, and these run for every frame.
_DISCONTINUITY: Final = int(FrameFlag.DISCONTINUITY)
_KEYFRAME: Final = int(FrameFlag.KEYFRAME)
_CUTS: Final = _KEYFRAME | _DISCONTINUITY  # a frame with one of these begins a fragment
_MARKS: Final = int(FrameFlag.CORRUPT) | int(FrameFlag.MOTION)  # a fragment has these if one of its frames has

_DEFAULT_FRAME_90K: Final = 3600  # 25 fps, for a stream of which only one frame is known
_NONE: Final[tuple[Fragment, ...]] = ()


class Fragmenter:
    """Pure: frames in, fragments out.

    A fragment is handed out as soon as one more frame would make it longer than ``limit_90k``, not when that frame
    arrives: what a crash can lose is then less than the limit. The duration of its last frame is the interval before
    it; the next fragment starts where its own first frame says, so the estimate never adds up. A frame that comes
    later than the one before promised goes into the next fragment instead of making this one too long.
    """

    def __init__(self, *, limit_90k: int = 90_000, max_bytes: int = 8 << 20) -> None:
        self._limit_90k = limit_90k
        self._max_bytes = max_bytes
        self._units: list[AccessUnit] = []
        self._bytes = 0
        self._first_dts_90k = 0  # of the fragment in progress
        self._last_dts_90k: int | None = None
        self._interval_90k = _DEFAULT_FRAME_90K

    def add(self, unit: AccessUnit) -> tuple[Fragment, ...]:
        """Take the next frame in decode order; returns the fragments that are complete now (none, one or two)."""
        dts_90k, flags = unit.dts_90k, unit.flags
        done = _NONE
        if flags & _DISCONTINUITY:
            if self._units:
                done = (self._cut(self._estimated_end_90k()),)
        else:
            if self._last_dts_90k is not None:
                self._interval_90k = dts_90k - self._last_dts_90k or 1  # decode times never decrease
            # Too late for the fragment in progress: the camera paused.
            if self._units and (
                flags & _KEYFRAME or dts_90k + self._interval_90k - self._first_dts_90k > self._limit_90k
            ):
                done = (self._cut(dts_90k),)
        self._last_dts_90k = dts_90k
        units = self._units
        if not units:
            self._first_dts_90k = dts_90k
        units.append(unit)
        self._bytes += len(unit.payload)
        # One more frame like this one would end two intervals from here.
        if dts_90k + 2 * self._interval_90k - self._first_dts_90k > self._limit_90k or self._bytes > self._max_bytes:
            done = (*done, self._cut(self._estimated_end_90k()))
        return done

    def flush(self) -> Fragment | None:
        """What is there, when the stream ends or its parameters change."""
        return self._cut(self._estimated_end_90k()) if self._units else None

    def _estimated_end_90k(self) -> int:
        return self._units[-1].dts_90k + min(self._interval_90k, self._limit_90k)

    def _cut(self, end_90k: int) -> Fragment:
        units = self._units
        flags = units[0].flags & _CUTS
        for unit in units:
            flags |= unit.flags & _MARKS
        self._units = []
        self._bytes = 0
        return Fragment(
            units=units, duration_90k=max(end_90k - units[0].dts_90k, 1), wall_us=units[0].capture_us, flags=flags
        )
