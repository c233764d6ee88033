import asyncio

from tests.support.nats import until

from vms.bus.link import Link, ignore
from vms.bus.mailbox import Incoming
from vms.bus.settings import BusSettings
from vms.bus.subscription import BusMessage, Subscription


def incoming(number: int, size: int = 1) -> Incoming:
    return Incoming(f"s.{number}", "", bytes(size), {})


async def run_until_idle(subscription: Subscription) -> None:
    task = asyncio.create_task(subscription.run())
    await until(lambda: subscription.pending == 0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def make(got: list[str], *, max_messages: int = 100, max_bytes: int = 1000, fail_on: str = "") -> Subscription:
    async def handler(message: BusMessage) -> None:
        got.append(message.subject)
        if message.subject == fail_on:
            raise RuntimeError("no")

    link = Link(BusSettings(), "t", ignore)
    return Subscription(link, "s.*", handler, max_pending_messages=max_messages, max_pending_bytes=max_bytes)


async def test_a_slow_handler_loses_the_oldest_messages_and_they_are_counted() -> None:
    got: list[str] = []
    subscription = make(got, max_messages=3)
    for number in range(10):
        subscription._receive(incoming(number))
    await run_until_idle(subscription)
    assert got == ["s.7", "s.8", "s.9"]
    assert subscription.dropped == 7


async def test_the_bound_in_bytes_holds_but_lets_one_large_message_through() -> None:
    got: list[str] = []
    subscription = make(got, max_bytes=1000)
    subscription._receive(incoming(0, 400))
    subscription._receive(incoming(1, 400))
    subscription._receive(incoming(2, 5000))
    assert subscription.pending == 1
    await run_until_idle(subscription)
    assert got == ["s.2"]
    assert subscription.dropped == 2


async def test_a_failing_handler_does_not_end_the_subscription() -> None:
    got: list[str] = []
    subscription = make(got, fail_on="s.0")
    subscription._receive(incoming(0))
    subscription._receive(incoming(1))
    await run_until_idle(subscription)
    assert got == ["s.0", "s.1"]
    assert subscription._link.stats.handler_failures == 1
