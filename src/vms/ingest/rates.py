"""Frames and bits per second, from counters that are read once in a while."""

from collections import deque
from typing import Final

_WINDOW_S: Final = 5.0


class RateMeter:
    """Rates over the last seconds. ``sample`` is called about once a second."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque()
        self.fps = 0.0
        self.bitrate_bps = 0.0

    def sample(self, monotonic: float, frames: int, size_bytes: int) -> None:
        """Take the counters as they stand at this instant."""
        samples = self._samples
        samples.append((monotonic, frames, size_bytes))
        while len(samples) > 2 and monotonic - samples[0][0] > _WINDOW_S:
            samples.popleft()
        first_s, first_frames, first_bytes = samples[0]
        span_s = monotonic - first_s
        if span_s > 0:
            self.fps = (frames - first_frames) / span_s
            self.bitrate_bps = (size_bytes - first_bytes) * 8 / span_s

    def clear(self) -> None:
        """The session ended."""
        self._samples.clear()
        self.fps = self.bitrate_bps = 0.0
