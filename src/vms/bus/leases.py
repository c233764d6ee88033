"""Which worker has which camera: leases in a KV bucket whose entries expire unless they are renewed.

Recording is sacred, so a keeper fails open: what it holds it keeps while the bus is away. After the bus is back one
holder remains: whoever has the entry; the other reports the lease as lost.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from vms.bus.kv import KvEntry
from vms.common.clock import Clock
from vms.common.errors import ErrorKind, VmsError

_RELEASE_ROUNDS: Final = 3


class LeaseStep(StrEnum):
    """What to do about one key."""

    CREATE = "create"  # free, or expired: try to have it
    RENEW = "renew"  # ours: reset its age
    YIELD = "yield"  # somebody else has it
    RELEASE = "release"  # ours, and no longer wanted


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step; ``revision`` is that of the entry to renew or release."""

    key: str
    step: LeaseStep
    revision: int = 0


def plan(
    wanted: Iterable[str], held: Iterable[str], entries: Mapping[str, KvEntry], worker_id: str
) -> list[PlannedStep]:
    """The steps of one round, given all leases as they are. An entry in our name is ours, whoever ran under it."""
    mine = worker_id.encode()
    wanted_keys = set(wanted)
    steps = []
    for key in sorted(wanted_keys | set(held)):
        entry = entries.get(key)
        owned = entry is not None and entry.value == mine
        if key not in wanted_keys:
            if entry is not None and owned:
                steps.append(PlannedStep(key, LeaseStep.RELEASE, entry.revision))
            else:
                steps.append(PlannedStep(key, LeaseStep.YIELD))
        elif entry is None:
            steps.append(PlannedStep(key, LeaseStep.CREATE))
        elif owned:
            steps.append(PlannedStep(key, LeaseStep.RENEW, entry.revision))
        else:
            steps.append(PlannedStep(key, LeaseStep.YIELD))
    return steps


class LeaseStore(Protocol):
    """The part of a KV bucket that leases need."""

    async def entries(self) -> dict[str, KvEntry]:
        """All leases."""
        ...

    async def create(self, key: str, value: bytes) -> int:
        """VmsError(CONFLICT) when there is one."""
        ...

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """VmsError(CONFLICT) when it changed."""
        ...

    async def delete(self, key: str, *, revision: int | None = None) -> None:
        """VmsError(CONFLICT) when it changed."""
        ...


@dataclass(frozen=True, slots=True)
class LeaseChange:
    """A lease gained or lost."""

    key: str
    held: bool


class LeaseKeeper:
    """Holds leases on the keys it is told to want, as far as no other worker has them.

    ``on_change`` is called, in the loop's thread, for every lease gained or lost. With ``assume_when_unreachable`` a
    keeper that has not reached the bus for ``ttl_s`` after its start takes what it wants as held, so that a machine
    records although its bus does not come up. ``ttl_s`` must be the bucket's.
    """

    def __init__(
        self,
        store: LeaseStore,
        worker_id: str,
        *,
        clock: Clock,
        on_change: Callable[[LeaseChange], None],
        ttl_s: float = 10.0,
        renew_s: float = 3.0,
        assume_when_unreachable: bool = False,
    ) -> None:
        self._store = store
        self._worker_id = worker_id
        self._clock = clock
        self._on_change = on_change
        self._ttl_s = ttl_s
        self._renew_s = renew_s
        self._assume = assume_when_unreachable
        self._wanted: frozenset[str] = frozenset()
        self._held: set[str] = set()
        self._wants_changed = asyncio.Event()
        self._reached = False
        self._started_s: float | None = None

    @property
    def held(self) -> frozenset[str]:
        """Keys whose lease this worker has."""
        return frozenset(self._held)

    def assume(self, keys: Iterable[str]) -> None:
        """Take keys as held before the bus has been asked: this worker had them in its last life.

        The first round keeps those that nobody else has taken over and reports the others as lost.
        """
        self._held.update(keys)

    def want(self, keys: Iterable[str]) -> None:
        """Set the keys to hold; others are released. Takes effect at once while ``run()`` runs."""
        self._wanted = frozenset(keys)
        self._wants_changed.set()

    async def run(self) -> None:
        """Acquire, renew and release until cancelled. What is held then stays ours until it expires."""
        while True:
            self._wants_changed.clear()
            await self.run_round()
            try:
                async with asyncio.timeout(self._renew_s):
                    await self._wants_changed.wait()
            except TimeoutError:
                continue

    async def run_round(self) -> bool:
        """One look at all leases and the steps that follow from it; False when some could not be taken.

        Never raises VmsError.
        """
        if self._started_s is None:
            self._started_s = self._clock.monotonic()
        try:
            entries = await self._store.entries()
            self._reached = True
            steps = plan(self._wanted, self._held, entries, self._worker_id)
            return all([await self._take(planned) for planned in steps])
        except VmsError:
            # The bus is away: keep what we hold and look again in the next round.
            waited_s = self._clock.monotonic() - self._started_s
            if self._assume and not self._reached and waited_s >= self._ttl_s:
                for key in sorted(self._wanted):
                    self._set_held(key, held=True)
            return False

    async def release_all(self) -> None:
        """Give everything back, so that another worker need not wait for the leases to expire."""
        self.want(())
        # A renewal that was on its way when run() was cancelled may still get in between.
        for _ in range(_RELEASE_ROUNDS):
            if await self.run_round():
                return

    async def _take(self, planned: PlannedStep) -> bool:
        value = self._worker_id.encode()
        try:
            if planned.step is LeaseStep.CREATE:
                await self._store.create(planned.key, value)
            elif planned.step is LeaseStep.RENEW:
                await self._store.update(planned.key, value, planned.revision)
            elif planned.step is LeaseStep.RELEASE:
                await self._store.delete(planned.key, revision=planned.revision)
        except VmsError as error:
            if error.kind is ErrorKind.CONFLICT:
                # Somebody was faster; the next round sees who.
                return False
            raise
        self._set_held(planned.key, held=planned.step in {LeaseStep.CREATE, LeaseStep.RENEW})
        return True

    def _set_held(self, key: str, *, held: bool) -> None:
        if held == (key in self._held):
            return
        if held:
            self._held.add(key)
        else:
            self._held.discard(key)
        self._on_change(LeaseChange(key, held))
