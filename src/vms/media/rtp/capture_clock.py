"""Wall time of capture from RTCP sender reports or, failing those, from arrival times (design note `time`). Pure.

Two mappings from media time to wall time are kept, each as an offset in microseconds (wall = pts + offset):

* the **arrival** offset: the smallest ``arrival - pts`` of the last seconds. Network and encoder only ever delay a
  frame, so the least delayed frame is the best witness of when frames are captured;
* the **report** offset: the camera's own statement in its last sender report, in its own clock.

The one in use is the report's while the camera's clock is sane, else the arrival's. The applied offset slews towards
it and steps only when it is off by more than a second.
"""

from collections import deque
from typing import Final

SANE_OFFSET_US: Final = 2_000_000  # a camera whose clock is further off is not believed
RETURN_OFFSET_US: Final = 1_000_000  # once disbelieved, it has to come this close: no step is needed to follow it then
STEP_US: Final = 1_000_000
# Slew of at most 2 %: faster than the worst camera clocks drift (1 %), too slow to be seen.
SLEW_DIVISOR: Final = 50
_BUCKET_US: Final = 1_000_000
_WINDOW_BUCKETS: Final = 15  # longer than a session may stall (10 s), so that a stall does not move the envelope
_DRIFT_BASE_US: Final = 60_000_000
_DRIFT_POINTS: Final = 10


class CaptureClock:
    """Maps the PTS of one session to wall time. Times of day come from the caller."""

    __slots__ = (
        "_applied_us",
        "_arrival_offset_us",
        "_bucket_end_us",
        "_bucket_min_us",
        "_buckets",
        "_drift_points",
        "_highest_pts",
        "_report_offset_us",
        "_report_trusted",
        "_started",
        "_target_us",
    )

    def __init__(self) -> None:
        self._started = False
        self._applied_us = 0
        self._target_us = 0
        self._highest_pts = 0
        self._arrival_offset_us = 0
        self._bucket_min_us = 0
        self._bucket_end_us = 0
        self._buckets: deque[tuple[int, int]] = deque()  # (end of the bucket, smallest offset in it)
        self._drift_points: deque[tuple[int, int]] = deque(maxlen=_DRIFT_POINTS)
        self._report_offset_us: int | None = None
        self._report_trusted = True

    @property
    def clock_offset_us(self) -> int | None:
        """Camera clock minus host clock, from the last sender report; None before the first."""
        if self._report_offset_us is None or not self._started:
            return None
        return self._report_offset_us - self._arrival_offset_us

    @property
    def drift_ppm(self) -> float | None:
        """How much slower the camera's media clock runs than the host's, in parts per million.

        Measured over up to ten minutes between minima of the arrival offset; None in the first one.
        """
        if len(self._drift_points) < 2:
            return None
        (first_at, first), (last_at, last) = self._drift_points[0], self._drift_points[-1]
        return (last - first) * 1e6 / (last_at - first_at)

    def restart(self) -> None:
        """Media time does not follow from before: forget both mappings. The next unit starts anew."""
        self._started = False
        self._buckets.clear()
        self._drift_points.clear()
        self._report_offset_us = None
        self._report_trusted = True

    def sender_report(self, ntp_us: int, pts_90k: int, arrival_us: int) -> None:
        """The camera says that media time ``pts_90k`` was ``ntp_us`` by its clock; heard at ``arrival_us``."""
        self._report_offset_us = ntp_us - pts_90k * 100 // 9
        error = abs(ntp_us - arrival_us)
        self._report_trusted = error <= (SANE_OFFSET_US if self._report_trusted else RETURN_OFFSET_US)
        self._aim()

    def capture_us(self, pts_90k: int, arrival_us: int) -> tuple[int, bool]:
        """Wall time of a unit whose first packet came at ``arrival_us``, and whether it stepped since the last one."""
        pts_us = pts_90k * 100 // 9
        offset = arrival_us - pts_us
        if offset < self._bucket_min_us or arrival_us >= self._bucket_end_us or not self._started:
            self._observe(pts_90k, arrival_us, offset)
        stepped = self._follow(pts_90k) if self._target_us != self._applied_us else False
        if pts_90k > self._highest_pts:  # noqa: PLR1730 - a call per frame
            self._highest_pts = pts_90k
        return pts_us + self._applied_us, stepped

    def _follow(self, pts_90k: int) -> bool:
        """Move the applied offset towards its target; whether it had to step."""
        error = self._target_us - self._applied_us
        if not -STEP_US <= error <= STEP_US:
            self._applied_us += error
            return True
        # Bounded by media time, so that capture times keep the order of the pictures whatever the network does.
        limit = max(0, pts_90k - self._highest_pts) * 100 // (9 * SLEW_DIVISOR)
        self._applied_us += max(-limit, min(limit, error))
        return False

    def _aim(self) -> None:
        """Choose the mapping to follow."""
        trusted = self._report_offset_us if self._report_trusted else None
        self._target_us = self._arrival_offset_us if trusted is None else trusted

    def _observe(self, pts_90k: int, arrival_us: int, offset: int) -> None:
        """An offset that may change the envelope."""
        if not self._started:
            self._start(pts_90k, arrival_us, offset)
        elif arrival_us >= self._bucket_end_us or arrival_us < self._bucket_end_us - 2 * _BUCKET_US:
            self._close_bucket(arrival_us, offset)
        else:
            self._bucket_min_us = offset
            self._arrival_offset_us = min(self._arrival_offset_us, offset)
            self._aim()

    def _start(self, pts_90k: int, arrival_us: int, offset: int) -> None:
        self._started = True
        self._highest_pts = pts_90k
        self._arrival_offset_us = self._bucket_min_us = offset
        self._bucket_end_us = arrival_us + _BUCKET_US
        self._aim()
        self._applied_us = self._target_us

    def _close_bucket(self, arrival_us: int, offset: int) -> None:
        """Begin a new second: the envelope is the smallest offset of the last fifteen."""
        if (
            arrival_us < self._bucket_end_us - 2 * _BUCKET_US
        ):  # the host's clock was set back: nothing old is comparable
            self._buckets.clear()
            self._drift_points.clear()
        else:
            self._buckets.append((self._bucket_end_us, self._bucket_min_us))
        oldest = arrival_us - _WINDOW_BUCKETS * _BUCKET_US
        while self._buckets and self._buckets[0][0] <= oldest:
            self._buckets.popleft()
        self._bucket_end_us = arrival_us + _BUCKET_US
        self._bucket_min_us = offset
        self._arrival_offset_us = min([offset, *(smallest for _, smallest in self._buckets)])
        self._aim()
        points = self._drift_points
        if len(self._buckets) >= _WINDOW_BUCKETS - 1 and (not points or arrival_us - points[-1][0] >= _DRIFT_BASE_US):
            points.append((arrival_us, self._arrival_offset_us))
