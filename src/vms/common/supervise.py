"""Restart what fails: exponential back-off with jitter, and one loop that runs a one-shot job for ever."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from vms.common.clock import Clock
from vms.common.errors import ErrorKind, VmsError


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """Delays between tries, in seconds.

    A job that ran for ``healthy_after_s`` starts again at ``first_s``. With ``give_up_after`` failures in a row the
    supervisor raises the alarm once; it goes on trying, because a camera comes back when somebody plugs it in.
    """

    first_s: float = 0.5
    limit_s: float = 30.0
    factor: float = 2.0
    jitter: float = 0.2
    healthy_after_s: float = 10.0
    give_up_after: int | None = None


class Backoff:
    """The delays of one job. Pure: randomness comes in as a function returning [0, 1)."""

    def __init__(self, policy: BackoffPolicy, rand: Callable[[], float] = random.random) -> None:
        self._policy = policy
        self._rand = rand
        self.failures = 0

    def reset(self) -> None:
        """Forget earlier failures."""
        self.failures = 0

    def next_delay_s(self, limit_s: float | None = None) -> float:
        """Seconds to wait before the next try; ``limit_s`` lowers the policy's limit for this one."""
        policy = self._policy
        limit = policy.limit_s if limit_s is None else min(limit_s, policy.limit_s)
        # The exponent is capped so that a camera that is off for a year does not overflow a float.
        delay = min(policy.first_s * policy.factor ** min(self.failures, 64), limit)
        self.failures += 1
        return min(delay * (1 + policy.jitter * (2 * self._rand() - 1)), limit)


class FailureObserver(Protocol):
    """Told of each failure before the wait."""

    def __call__(self, error: VmsError, *, delay_s: float, failures: int) -> None:
        """``failures`` counts failures in a row, this one included."""
        ...


async def supervise(
    run_once: Callable[[], Awaitable[None]],
    *,
    policy: BackoffPolicy,
    clock: Clock,
    on_failure: FailureObserver,
    on_give_up: Callable[[VmsError], None] | None = None,
    limit_s: Callable[[VmsError], float] | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Run ``run_once`` until it returns or this task is cancelled; restart it with back-off when it fails.

    ``limit_s`` may lower the policy's limit for a failure.

    Cancellation goes through to ``run_once``, which cleans up and lets it leave.
    """
    backoff = Backoff(policy)
    while True:
        started = clock.monotonic()
        try:
            await run_once()
            return
        except VmsError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - a task's edge: a bug in one job must not end its restart
            failure = VmsError(ErrorKind.INTERNAL, f"{type(error).__name__}: {error}")
            failure.__cause__ = error
        if clock.monotonic() - started >= policy.healthy_after_s:
            backoff.reset()
        delay_s = backoff.next_delay_s(None if limit_s is None else limit_s(failure))
        on_failure(failure, delay_s=delay_s, failures=backoff.failures)
        if on_give_up is not None and backoff.failures == policy.give_up_after:
            on_give_up(failure)
        await sleep(delay_s)
