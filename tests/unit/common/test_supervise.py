import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.common.clock import ManualClock
from vms.common.errors import ErrorKind, VmsError
from vms.common.supervise import Backoff, BackoffPolicy, supervise

GONE = VmsError(ErrorKind.CLOSED, "gone")
policies = st.builds(
    BackoffPolicy, first_s=st.floats(0.01, 5), limit_s=st.floats(5, 100), factor=st.floats(1, 4), jitter=st.floats(0, 1)
)


@given(policies, st.lists(st.floats(0, 1, exclude_max=True), max_size=100), st.none() | st.floats(0, 50))
def test_a_delay_is_never_negative_nor_beyond_any_limit(
    policy: BackoffPolicy, randoms: list[float], limit_s: float | None
) -> None:
    values = iter(randoms)
    backoff = Backoff(policy, lambda: next(values))
    for count in range(1, len(randoms) + 1):
        delay_s = backoff.next_delay_s(limit_s)
        assert 0 <= delay_s <= policy.limit_s
        assert limit_s is None or delay_s <= limit_s
        assert backoff.failures == count


@given(policies)
def test_without_luck_in_it_the_delay_grows_to_its_limit_and_stays_there(policy: BackoffPolicy) -> None:
    backoff = Backoff(policy, lambda: 0.5)
    delays = [backoff.next_delay_s() for _ in range(200)]
    assert delays == sorted(delays)
    assert delays[0] == pytest.approx(policy.first_s)
    if policy.factor > 1.1:
        assert delays[-1] == policy.limit_s


def test_jitter_spreads_the_delay_on_both_sides() -> None:
    policy = BackoffPolicy(first_s=1, jitter=0.2)
    assert Backoff(policy, lambda: 0.0).next_delay_s() == pytest.approx(0.8)
    assert Backoff(policy, lambda: 0.99999).next_delay_s() == pytest.approx(1.2, abs=1e-4)


def test_a_year_of_failures_overflows_nothing() -> None:
    backoff = Backoff(BackoffPolicy(factor=4), lambda: 0.5)
    backoff.failures = 10_000_000
    assert backoff.next_delay_s() == 30


def test_after_a_reset_it_begins_again() -> None:
    backoff = Backoff(BackoffPolicy(first_s=1), lambda: 0.5)
    for _ in range(5):
        backoff.next_delay_s()
    backoff.reset()
    assert backoff.next_delay_s() == 1


@dataclass
class Job:
    """Fails as told, each time after some seconds, then returns; remembers what the supervisor said and slept."""

    failures: list[Exception]
    lasts_s: float = 0.0
    clock: ManualClock = field(default_factory=ManualClock)
    told: list[tuple[VmsError, int]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    gave_up: list[VmsError] = field(default_factory=list)

    async def run(self) -> None:
        self.clock.advance(self.lasts_s)
        if self.failures:
            raise self.failures.pop(0)

    def failed(self, error: VmsError, *, delay_s: float, failures: int) -> None:
        assert delay_s >= 0
        self.told.append((error, failures))

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def supervised(self, **policy: float) -> None:
        give_up_after = policy.pop("give_up_after", None)
        await supervise(
            self.run,
            policy=BackoffPolicy(
                jitter=0, give_up_after=None if give_up_after is None else int(give_up_after), **policy
            ),
            clock=self.clock,
            on_failure=self.failed,
            on_give_up=self.gave_up.append,
            limit_s=lambda error: 3.0 if error.kind is ErrorKind.TIMEOUT else 1e9,
            sleep=self.sleep,
        )


async def test_a_job_that_fails_is_run_again_after_growing_delays_until_it_returns() -> None:
    job = Job([GONE] * 4)
    await job.supervised(first_s=1, limit_s=5)
    assert job.slept == [1, 2, 4, 5]
    assert job.told == [(GONE, 1), (GONE, 2), (GONE, 3), (GONE, 4)]


async def test_a_job_that_ran_for_a_while_begins_with_the_first_delay_again() -> None:
    job = Job([GONE] * 3, lasts_s=10)
    await job.supervised(first_s=1, healthy_after_s=10)
    assert job.slept == [1, 1, 1]


async def test_a_failure_may_lower_the_limit_for_itself() -> None:
    job = Job([GONE, GONE, GONE, VmsError(ErrorKind.TIMEOUT, "slow"), GONE])
    await job.supervised(first_s=1)
    assert job.slept == [1, 2, 4, 3, 16]


async def test_a_bug_in_the_job_counts_as_a_failure_with_its_cause() -> None:
    bug = KeyError("x")
    job = Job([bug])
    await job.supervised()
    (error, _), *_ = job.told
    assert error.kind is ErrorKind.INTERNAL
    assert error.__cause__ is bug
    assert "KeyError" in error.message


async def test_the_alarm_is_raised_once_and_trying_goes_on() -> None:
    job = Job([GONE] * 10)
    await job.supervised(give_up_after=3)
    assert job.gave_up == [GONE]
    assert len(job.told) == 10


async def test_cancellation_reaches_the_job_and_is_no_failure() -> None:
    entered, cleaned = asyncio.Event(), []
    job = Job([])

    async def wait_for_ever() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    task = asyncio.ensure_future(
        supervise(wait_for_ever, policy=BackoffPolicy(), clock=job.clock, on_failure=job.failed)
    )
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [True]
    assert job.told == []
