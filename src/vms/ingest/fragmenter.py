"""Cuts a stream of access units into fragments: at every keyframe, and before a second is full."""

from typing import Final

from vms.common.stream import AccessUnit, FrameFlag
from vms.format.model import Fragment

# Plain integers: an IntFlag operation costs a microsecond, and these run for every frame.
_KEYFRAME: Final = int(FrameFlag.KEYFRAME)
_DISCONTINUITY: Final = int(FrameFlag.DISCONTINUITY)
_CORRUPT: Final = int(FrameFlag.CORRUPT)
_MOTION: Final = int(FrameFlag.MOTION)

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
        self._interval_90k = _DEFAULT_FRAME_90K
        self._last_dts_90k: int | None = None

    def add(self, unit: AccessUnit) -> tuple[Fragment, ...]:
        """Take the next frame in decode order; returns the fragments that are complete now (none, one or two)."""
        done = _NONE
        if unit.flags & _DISCONTINUITY:
            if self._units:
                done = (self._cut(self._estimated_end_90k()),)
        else:
            if self._last_dts_90k is not None:
                self._interval_90k = max(unit.dts_90k - self._last_dts_90k, 1)
            if self._units and (unit.flags & _KEYFRAME or self._is_too_late(unit)):
                done = (self._cut(unit.dts_90k),)
        self._last_dts_90k = unit.dts_90k
        self._units.append(unit)
        self._bytes += len(unit.payload)
        end_90k = self._estimated_end_90k()
        if end_90k + self._interval_90k - self._units[0].dts_90k > self._limit_90k or self._bytes > self._max_bytes:
            done = (*done, self._cut(end_90k))
        return done

    def flush(self) -> Fragment | None:
        """What is there, when the stream ends or its parameters change."""
        return self._cut(self._estimated_end_90k()) if self._units else None

    def _is_too_late(self, unit: AccessUnit) -> bool:
        return unit.dts_90k + self._interval_90k - self._units[0].dts_90k > self._limit_90k

    def _estimated_end_90k(self) -> int:
        return self._units[-1].dts_90k + min(self._interval_90k, self._limit_90k)

    def _cut(self, end_90k: int) -> Fragment:
        units = self._units
        flags = units[0].flags & (_KEYFRAME | _DISCONTINUITY)
        for unit in units:
            flags |= unit.flags & (_CORRUPT | _MOTION)
        self._units = []
        self._bytes = 0
        return Fragment(
            units=units, duration_90k=max(end_90k - units[0].dts_90k, 1), wall_us=units[0].capture_us, flags=flags
        )
