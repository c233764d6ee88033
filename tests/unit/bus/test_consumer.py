import asyncio
from pathlib import Path

import pytest
from tests.support.nats import NatsServer, connected_bus, until

from vms.bus import consumer
from vms.bus.consumer import ConsumerSpec, Delivery, nak_delay_s
from vms.bus.jetstream import api
from vms.common.errors import ErrorKind, VmsError
from vms.proto import subjects

SUBJECT = "vms.events.cam_1.test"


def test_delays_double_up_to_a_limit() -> None:
    assert [nak_delay_s(attempt) for attempt in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert nak_delay_s(10_000) == 30.0


def test_the_server_keeps_one_message_in_flight_and_retries_for_ever() -> None:
    config = ConsumerSpec("S", "d", "s.>", 10.0, 1).config()
    assert (config["max_ack_pending"], config["max_deliver"], config["ack_wait"]) == (1, -1, 10_000_000_000)


async def test_a_failing_message_comes_again_before_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "_NAK_FIRST_S", 0.02)
    seen: list[tuple[bytes, int]] = []

    async def handler(delivery: Delivery) -> None:
        seen.append((delivery.payload, delivery.attempt))
        if delivery.payload == b"1" and delivery.attempt < 3:
            raise RuntimeError("disk full")

    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        for number in range(3):
            await bus.publish_durable(SUBJECT, b"%d" % number)
        task = asyncio.create_task(bus.consume(subjects.EVENTS_STREAM, "t", SUBJECT, handler))
        await until(lambda: len(seen) == 5)
        task.cancel()
        assert seen == [(b"0", 1), (b"1", 1), (b"1", 2), (b"1", 3), (b"2", 1)]


async def test_a_message_that_no_retry_can_help_is_given_up(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def handler(delivery: Delivery) -> None:
        seen.append(delivery.payload)
        if delivery.payload == b"0":
            raise VmsError(ErrorKind.PROTOCOL, "not a message")

    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        for number in range(2):
            await bus.publish_durable(SUBJECT, b"%d" % number)
        task = asyncio.create_task(bus.consume(subjects.EVENTS_STREAM, "t", SUBJECT, handler))
        await until(lambda: len(seen) == 2)
        task.cancel()
        assert seen == [b"0", b"1"]
        assert bus.stats.rejected == 1


async def test_a_handler_that_takes_longer_than_ack_wait_keeps_its_message(tmp_path: Path) -> None:
    seen: list[int] = []
    release = asyncio.Event()

    async def handler(delivery: Delivery) -> None:
        seen.append(delivery.attempt)
        if len(seen) == 1:
            await release.wait()

    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        await bus.publish_durable(SUBJECT, b"0")
        task = asyncio.create_task(bus.consume(subjects.EVENTS_STREAM, "t", SUBJECT, handler, ack_wait_s=0.15))
        await until(lambda: seen == [1])
        # Eight extensions: nearly three times ack_wait.
        extended = bus.stats.published
        await until(lambda: bus.stats.published >= extended + 8)
        info = await api(bus._link.require(), f"CONSUMER.INFO.{subjects.EVENTS_STREAM}.t", {})
        assert (info["num_redelivered"], info["num_ack_pending"]) == (0, 1)
        release.set()
        await bus.publish_durable(SUBJECT, b"1")
        await until(lambda: len(seen) == 2)
        task.cancel()
        assert seen == [1, 1]


async def test_a_consumer_that_is_cancelled_gives_its_message_back_at_once(tmp_path: Path) -> None:
    started = asyncio.Event()
    got: list[bytes] = []

    async def hang(_: Delivery) -> None:
        started.set()
        await asyncio.Event().wait()

    async def handler(delivery: Delivery) -> None:
        got.append(delivery.payload)

    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        await bus.publish_durable(SUBJECT, b"0")
        first = asyncio.create_task(bus.consume(subjects.EVENTS_STREAM, "t", SUBJECT, hang, ack_wait_s=60))
        await started.wait()
        first.cancel()
        second = asyncio.create_task(bus.consume(subjects.EVENTS_STREAM, "t", SUBJECT, handler, ack_wait_s=60))
        await until(lambda: got == [b"0"], 5)
        second.cancel()


async def test_a_stream_that_is_deleted_is_made_again_and_consumed_on(tmp_path: Path) -> None:
    got: list[bytes] = []

    async def handler(delivery: Delivery) -> None:
        got.append(delivery.payload)

    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        task = asyncio.create_task(bus.consume(subjects.EVENTS_STREAM, "t", SUBJECT, handler))
        await bus.publish_durable(SUBJECT, b"0")
        await until(lambda: got == [b"0"])
        await api(bus._link.require(), f"STREAM.DELETE.{subjects.EVENTS_STREAM}", {})
        while True:
            try:
                await bus.publish_durable(SUBJECT, b"1")
                break
            except VmsError as error:
                assert error.kind is ErrorKind.UNAVAILABLE  # noqa: PT017 - the other way out of the loop
                await asyncio.sleep(0.05)
        await until(lambda: got == [b"0", b"1"])
        task.cancel()
