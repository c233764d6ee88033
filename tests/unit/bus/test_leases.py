import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.nats import until

from vms.bus.kv import KvEntry
from vms.bus.leases import LeaseChange, LeaseKeeper, LeaseStep, PlannedStep, plan
from vms.common.clock import ManualClock
from vms.common.errors import ErrorKind, VmsError

AWAY = VmsError(ErrorKind.UNAVAILABLE, "away")


class FakeStore:
    """A bucket in memory; entries expire when the test says so."""

    def __init__(self) -> None:
        self.values: dict[str, KvEntry] = {}
        self.away = False
        self._revision = 0

    async def entries(self) -> dict[str, KvEntry]:
        self._check()
        return dict(self.values)

    async def create(self, key: str, value: bytes) -> int:
        self._check()
        if key in self.values:
            raise VmsError(ErrorKind.CONFLICT, "exists")
        return self._set(key, value)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        self._check()
        if key not in self.values or self.values[key].revision != revision:
            raise VmsError(ErrorKind.CONFLICT, "changed")
        return self._set(key, value)

    async def delete(self, key: str, *, revision: int | None = None) -> None:
        self._check()
        if key in self.values and revision not in {None, self.values[key].revision}:
            raise VmsError(ErrorKind.CONFLICT, "changed")
        self.values.pop(key, None)

    def _set(self, key: str, value: bytes) -> int:
        self._revision += 1
        self.values[key] = KvEntry(key, value, self._revision)
        return self._revision

    def _check(self) -> None:
        if self.away:
            raise AWAY


class Worker:
    """A keeper and what it said."""

    def __init__(self, store: FakeStore, name: str, *, assume: bool = False) -> None:
        self.changes: list[LeaseChange] = []
        self.clock = ManualClock()
        self.keeper = LeaseKeeper(
            store, name, clock=self.clock, on_change=self.changes.append, renew_s=0.01, assume_when_unreachable=assume
        )


keys = st.sets(st.sampled_from("abcd"))


@given(keys, keys, st.dictionaries(st.sampled_from("abcd"), st.sampled_from([b"me", b"other"])))
def test_a_plan_takes_what_is_free_renews_what_is_ours_and_touches_nothing_else(
    wanted: set[str], held: set[str], holders: dict[str, bytes]
) -> None:
    entries = {key: KvEntry(key, value, 7) for key, value in holders.items()}
    steps = {planned.key: planned for planned in plan(wanted, held, entries, "me")}
    assert set(steps) == wanted | held
    for key, planned in steps.items():
        holder = holders.get(key)
        if key in wanted:
            expected = {None: LeaseStep.CREATE, b"me": LeaseStep.RENEW}.get(holder, LeaseStep.YIELD)
        else:
            expected = LeaseStep.RELEASE if holder == b"me" else LeaseStep.YIELD
        assert planned == PlannedStep(key, expected, 7 if holder == b"me" else 0)


async def test_two_workers_share_what_both_want_without_overlap() -> None:
    store = FakeStore()
    one, two = Worker(store, "one"), Worker(store, "two")
    one.keeper.want("abc")
    two.keeper.want("cd")
    await one.keeper.run_round()
    await two.keeper.run_round()
    assert one.keeper.held == {"a", "b", "c"}
    assert two.keeper.held == {"d"}
    assert two.changes == [LeaseChange("d", held=True)]


async def test_a_lease_that_expires_goes_to_the_other_and_is_reported_lost() -> None:
    store = FakeStore()
    one, two = Worker(store, "one"), Worker(store, "two")
    for worker in (one, two):
        worker.keeper.want("a")
    await one.keeper.run_round()
    store.values.clear()
    await two.keeper.run_round()
    await one.keeper.run_round()
    assert one.keeper.held == frozenset()
    assert two.keeper.held == {"a"}
    assert one.changes == [LeaseChange("a", held=True), LeaseChange("a", held=False)]


async def test_the_same_worker_owns_its_lease_at_once_after_a_restart() -> None:
    store = FakeStore()
    before = Worker(store, "one")
    before.keeper.want("a")
    await before.keeper.run_round()
    after = Worker(store, "one")
    after.keeper.want("a")
    await after.keeper.run_round()
    assert after.keeper.held == {"a"}


async def test_while_the_bus_is_away_what_is_held_is_kept() -> None:
    store = FakeStore()
    one = Worker(store, "one")
    one.keeper.want("a")
    await one.keeper.run_round()
    store.away = True
    one.clock.advance(3600)
    await one.keeper.run_round()
    assert one.keeper.held == {"a"}
    store.away = False
    store.values.clear()  # expired meanwhile, and nobody took it
    await one.keeper.run_round()
    assert store.values["a"].value == b"one"
    assert one.changes == [LeaseChange("a", held=True)]


async def test_after_an_outage_one_of_two_holders_remains() -> None:
    store = FakeStore()
    store.away = True
    workers = [Worker(store, "one", assume=True), Worker(store, "two", assume=True)]
    for worker in workers:
        worker.keeper.want("a")
        await worker.keeper.run_round()
        assert worker.keeper.held == frozenset()
        worker.clock.advance(10)
        await worker.keeper.run_round()
        assert worker.keeper.held == {"a"}
    store.away = False
    for worker in workers:
        await worker.keeper.run_round()
    assert [worker.keeper.held for worker in workers] == [{"a"}, frozenset()]


async def test_without_leave_to_assume_nothing_is_held_before_the_bus_was_reached() -> None:
    store = FakeStore()
    store.away = True
    one = Worker(store, "one")
    one.keeper.want("a")
    await one.keeper.run_round()
    one.clock.advance(3600)
    await one.keeper.run_round()
    assert one.keeper.held == frozenset()


async def test_what_is_no_longer_wanted_is_given_back() -> None:
    store = FakeStore()
    one = Worker(store, "one")
    one.keeper.want("ab")
    await one.keeper.run_round()
    one.keeper.want("b")
    await one.keeper.run_round()
    assert set(store.values) == {"b"}
    await one.keeper.release_all()
    assert store.values == {}
    assert one.keeper.held == frozenset()


async def test_a_renewal_that_gets_in_between_does_not_keep_a_lease_from_being_given_back() -> None:
    class RenewedMeanwhile(FakeStore):
        """The first look at the leases is followed by a renewal that was under way."""

        async def entries(self) -> dict[str, KvEntry]:
            seen = await super().entries()
            if not one.keeper._wanted and seen["a"].revision == 1:
                self._set("a", b"one")
            return seen

    store = RenewedMeanwhile()
    one = Worker(store, "one")
    one.keeper.want("a")
    await one.keeper.run_round()
    await one.keeper.release_all()
    assert store.values == {}
    assert one.keeper.held == frozenset()


async def test_a_running_keeper_follows_new_wishes_at_once() -> None:
    store = FakeStore()
    one = Worker(store, "one")
    task = asyncio.create_task(one.keeper.run())
    await until(lambda: one.keeper.held == frozenset())
    one.keeper.want("a")
    await until(lambda: one.keeper.held == {"a"})
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
