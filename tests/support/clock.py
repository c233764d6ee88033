"""Time that passes only when nothing else is left to do: tests of timers that neither sleep nor poll."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_START_S = 1000.0
_STUCK_S = 20.0


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that jumps to its next timer instead of waiting for it."""

    def __init__(self) -> None:
        self._now_s = _START_S
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self._now_s

    def jump(self, seconds: float) -> None:
        self._now_s += seconds


class LoopClock:
    """The time of the running virtual loop, as a Clock. Its wall time can be stepped."""

    def __init__(self, start_us: int = 1_772_359_200_000_000) -> None:
        self._start_us = start_us

    def now_us(self) -> int:
        return self._start_us + round((self.monotonic() - _START_S) * 1e6)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def run_virtual(work: Coroutine[Any, Any, T]) -> T:
    """Run a test's coroutine on a loop of its own, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)


async def settle(turns: int = 50) -> None:
    """Let every task go as far as it gets without time passing."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def cancelled(task: "asyncio.Task[Any]") -> None:
    """Cancel a task and wait for its end; what it raised besides is raised."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            ready = super().select(_STUCK_S)
            assert ready, "the loop waits for something that never comes"
            return ready
        ready = super().select(0)
        if not ready:
            self._loop.jump(timeout)
        return ready
