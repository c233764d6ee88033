"""The only module that asks the operating system for the time."""

import time
from typing import Protocol


class Clock(Protocol):
    """Time as a parameter, so that tests decide what time it is."""

    def now_us(self) -> int:
        """Wall time in microseconds since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds of a clock that never steps, for intervals."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_us(self) -> int:
        """Wall time in microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, now_us: int = 1_700_000_000_000_000) -> None:
        self._wall_us = now_us
        self._monotonic_us = 0

    def now_us(self) -> int:
        """Wall time in microseconds since 1970-01-01 UTC."""
        return self._wall_us

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return self._monotonic_us / 1e6

    def advance(self, seconds: float) -> None:
        """Let both clocks run for ``seconds``."""
        self._wall_us += round(seconds * 1e6)
        self._monotonic_us += round(seconds * 1e6)

    def step(self, seconds: float) -> None:
        """Step the wall clock alone, as NTP or an operator does."""
        self._wall_us += round(seconds * 1e6)
