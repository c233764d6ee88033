"""Media time of a session: 32-bit RTP timestamps to unwrapped PTS, and PTS in decode order to DTS. Pure."""

from bisect import insort
from collections import deque
from typing import Final

CLOCK_RATE: Final = 90_000
# A timestamp that runs away from arrival time by more than this is not pacing but a new clock.
MAX_JUMP_90K: Final = 10 * CLOCK_RATE
MAX_REORDER: Final = 16
_PLAIN_US: Final = 5_000_000  # a longer silence is looked at closely
_DEFAULT_FRAME_90K: Final = 3600  # until a rate is declared: 25 frames a second


class Timeline:
    """Turns the timestamps of access units in decode order into (pts, dts).

    DTS is the smallest of the ``depth + 1`` latest PTS, so it never exceeds the PTS of its own frame while the depth is
    right. It always increases strictly, if need be by one tick. The first PTS is ``depth`` frames, so that the first
    DTS is 0.
    """

    __slots__ = (
        "_arrival_us",
        "_depth_needed",
        "_dts",
        "_frame_90k",
        "_highest_pts",
        "_is_plain",
        "_pending",
        "_pts",
        "_recent",
        "_started",
        "_timestamp",
        "reorder_frames",
    )

    def __init__(self, reorder_frames: int = 0, frame_rate: float | None = None) -> None:
        self.reorder_frames = min(reorder_frames, MAX_REORDER)
        self._frame_90k = round(CLOCK_RATE / frame_rate) if frame_rate else _DEFAULT_FRAME_90K
        self._started = False
        self._is_plain = False  # does not reorder, and the latest unit is the highest in every respect
        self._timestamp = 0
        self._arrival_us = 0
        self._pts = 0
        self._highest_pts = 0
        self._dts = 0
        self._depth_needed = self.reorder_frames
        self._pending: list[int] = []  # sorted: the PTS that are not a DTS yet, ``reorder_frames`` of them
        self._recent: deque[int] = deque(maxlen=MAX_REORDER)

    def advance(
        self,
        timestamp: int,
        arrival_us: int,
        keyframe: int = 0,
        new_source: bool = False,  # noqa: FBT001, FBT002 - once per frame
    ) -> tuple[int, int, bool]:
        """PTS and DTS of the next unit, and whether its time does not follow from the unit before.

        ``timestamp`` is its RTP timestamp, ``arrival_us`` when its first packet came; ``keyframe`` is not 0 for one;
        ``new_source`` says that another clock counts from here on (a new SSRC).
        """
        step = timestamp - self._timestamp
        if (
            0 < step < CLOCK_RATE
            and self._is_plain
            and not keyframe
            and not new_source
            and arrival_us - self._arrival_us < _PLAIN_US
        ):
            # Nineteen in twenty units: the next frame of a stream that does not reorder.
            self._timestamp = timestamp
            self._arrival_us = arrival_us
            pts = self._pts + step
            self._pts = self._highest_pts = self._dts = pts
            self._recent.append(pts)
            return pts, pts, False
        return self._advance(timestamp, arrival_us, keyframe, new_source)

    def _advance(self, timestamp: int, arrival_us: int, keyframe: int, new_source: int) -> tuple[int, int, bool]:
        """The general case."""
        discontinuity = False
        if not self._started:
            self._start()
            pts = self._pts
            discontinuity = True
        else:
            step = ((timestamp - self._timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
            elapsed = (arrival_us - self._arrival_us) * 9 // 100
            if new_source or not -MAX_JUMP_90K < step - elapsed < MAX_JUMP_90K:
                pts = self._highest_pts + max(elapsed, self._frame_90k)
                discontinuity = True
            else:
                pts = self._pts + step
        self._timestamp = timestamp
        self._arrival_us = arrival_us
        self._pts = pts
        if pts >= self._highest_pts:
            self._highest_pts = pts
        else:
            self._depth_needed = max(self._depth_needed, sum(earlier > pts for earlier in self._recent))
        self._recent.append(pts)
        if keyframe and self._depth_needed > self.reorder_frames:
            self._deepen(pts)
        if self.reorder_frames:
            insort(self._pending, pts)
            dts = self._pending.pop(0)
        else:
            dts = pts
        if dts <= self._dts:
            dts = self._dts + 1
        self._dts = dts
        self._is_plain = not self.reorder_frames and dts == pts == self._highest_pts
        return pts, dts, discontinuity

    def declare(self, reorder_frames: int, frame_rate: float | None) -> None:
        """Parameters of the stream changed: they hold from the next unit on, which is a keyframe."""
        if frame_rate:
            self._frame_90k = round(CLOCK_RATE / frame_rate)
        # Never less than what was seen: a shallower depth would need DTS to jump.
        self._depth_needed = max(self._depth_needed, min(reorder_frames, MAX_REORDER))

    def unwrap(self, timestamp: int) -> int:
        """PTS that an RTP timestamp near the latest unit has, for the mapping of sender reports."""
        return self._pts + ((timestamp - self._timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000

    def _start(self) -> None:
        self._started = True
        self.reorder_frames = self._depth_needed
        self._pts = self._highest_pts = self.reorder_frames * self._frame_90k
        self._dts = -1
        self._pending = [i * self._frame_90k for i in range(self.reorder_frames)]

    def _deepen(self, pts: int) -> None:
        # The frames that would be pending had the depth been right from the start.
        missing = self._depth_needed - self.reorder_frames
        for i in range(1, missing + 1):
            insort(self._pending, pts - i * self._frame_90k)
        self.reorder_frames = self._depth_needed
