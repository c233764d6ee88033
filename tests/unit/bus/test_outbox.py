import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.nats import until

from vms.bus.outbox import Outbox, OutboxQueue, Outgoing
from vms.common.errors import ErrorKind, VmsError


class FakeBus:
    """Stores messages, or fails with what is prepared."""

    def __init__(self) -> None:
        self.stored: list[str | None] = []
        self.failures: list[VmsError] = []
        self.calls = 0

    async def publish_durable(
        self, subject: str, payload: bytes, *, msg_id: str | None = None, timeout_s: float = 5.0
    ) -> int:
        assert subject
        assert payload
        assert timeout_s > 0
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        self.stored.append(msg_id)
        return len(self.stored)


def item(number: int, *, droppable: bool) -> Outgoing:
    return Outgoing("s", b"x", str(number), droppable)


def drained(queue: OutboxQueue) -> list[str]:
    return [queue.pop().msg_id for _ in range(len(queue))]


def test_when_full_the_oldest_droppable_goes_first() -> None:
    queue = OutboxQueue(3)
    for number, droppable in enumerate([False, True, True, False, False]):
        queue.put(item(number, droppable=droppable))
    assert queue.dropped == 2
    assert drained(queue) == ["0", "3", "4"]


def test_when_full_of_what_matters_the_oldest_goes() -> None:
    queue = OutboxQueue(2)
    for number in range(4):
        queue.put(item(number, droppable=False))
    assert drained(queue) == ["2", "3"]


@given(st.integers(1, 5), st.lists(st.sampled_from(["keep", "drop", "pop"]), max_size=60))
def test_the_queue_is_bounded_ordered_and_counts_what_it_drops(capacity: int, steps: Sequence[str]) -> None:
    queue = OutboxQueue(capacity)
    model: list[tuple[int, bool]] = []
    dropped = 0
    for number, step in enumerate(steps):
        if step == "pop":
            if model:
                assert queue.pop().msg_id == str(model.pop(0)[0])
        else:
            if len(model) == capacity:
                victim = next((index for index, entry in enumerate(model) if entry[1]), 0)
                del model[victim]
                dropped += 1
            queue.put(item(number, droppable=step == "drop"))
            model.append((number, step == "drop"))
        assert (len(queue), queue.dropped) == (len(model), dropped)
    assert drained(queue) == [str(number) for number, _ in model]


async def test_messages_are_sent_in_order_and_again_until_they_are_stored() -> None:
    bus = FakeBus()
    bus.failures = [VmsError(ErrorKind.UNAVAILABLE, "away"), VmsError(ErrorKind.TIMEOUT, "slow")]
    outbox = Outbox(bus)
    for number in range(3):
        outbox.put("s", b"x", str(number))
    assert outbox.waiting == 3
    task = asyncio.create_task(outbox.run())
    await until(lambda: outbox.published == 3)
    task.cancel()
    assert bus.stored == ["0", "1", "2"]
    assert bus.calls == 5
    assert outbox.waiting == 0


async def test_a_message_that_can_never_be_stored_does_not_hold_up_the_next() -> None:
    bus = FakeBus()
    bus.failures = [VmsError(ErrorKind.INVALID, "too large")]
    outbox = Outbox(bus)
    outbox.put("s", b"x", "big")
    outbox.put("s", b"x", "next")
    task = asyncio.create_task(outbox.run())
    await until(lambda: outbox.published == 1)
    task.cancel()
    assert (bus.stored, outbox.rejected) == (["next"], 1)


async def test_cancelling_leaves_at_once() -> None:
    outbox = Outbox(FakeBus())
    task = asyncio.create_task(outbox.run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
