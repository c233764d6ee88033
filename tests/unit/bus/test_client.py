import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.nats import NatsServer, connected_bus, flushed, until

from vms.bus.client import Bus
from vms.bus.settings import BusSettings
from vms.bus.subscription import BusMessage
from vms.common.errors import ErrorKind, VmsError


async def test_entering_returns_at_once_without_a_server_and_every_call_says_why(tmp_path: Path) -> None:
    async with asyncio.timeout(2):
        async with Bus(BusSettings.discover(tmp_path), "t") as bus:
            assert not bus.connected
            assert bus.publish("a", b"x") is False
            assert bus.stats.dropped == 1
            with pytest.raises(VmsError, match="vms up"):
                await bus.wait_connected(0.1)
            for call in (bus.request("a", b""), bus.publish_durable("a", b"")):
                with pytest.raises(VmsError) as caught:
                    await call
                assert caught.value.kind is ErrorKind.UNAVAILABLE


async def test_a_bus_that_started_before_the_server_finds_it(tmp_path: Path) -> None:
    got: list[bytes] = []

    async def handler(message: BusMessage) -> None:
        got.append(message.payload)

    async with Bus(BusSettings.discover(tmp_path), "t") as bus:
        await bus.subscribe("a", handler)
        async with NatsServer(tmp_path):
            await bus.wait_connected(5)
            assert bus.publish("a", b"x")
            await until(lambda: got == [b"x"])


async def test_a_closed_registration_gets_no_more_messages(tmp_path: Path) -> None:
    got: list[bytes] = []

    async def handler(message: BusMessage) -> None:
        got.append(message.payload)

    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        registration = await bus.subscribe("a", handler)
        bus.publish("a", b"1")
        await until(lambda: got == [b"1"])
        await registration.close()
        bus.publish("a", b"2")
        await flushed(bus)
        await flushed(bus)
        assert got == [b"1"]
        assert registration.dropped == 0


async def test_leaving_sends_what_was_published_just_before(tmp_path: Path) -> None:
    got: list[bytes] = []

    async def handler(message: BusMessage) -> None:
        got.append(message.payload)

    async with NatsServer(tmp_path) as server, connected_bus(server, "reader") as reader:
        await reader.subscribe("a", handler)
        await flushed(reader)
        async with connected_bus(server, "writer") as writer:
            for number in range(100):
                assert writer.publish("a", b"%d" % number)
        await until(lambda: len(got) == 100)
        assert got == [b"%d" % number for number in range(100)]


async def test_a_message_id_is_stored_once(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        first = await bus.publish_durable("vms.events.c.k", b"1", msg_id="e1")
        assert await bus.publish_durable("vms.events.c.k", b"1", msg_id="e1") == first
        assert await bus.publish_durable("vms.events.c.k", b"2", msg_id="e2") == first + 1


async def test_a_subject_that_no_stream_takes_and_a_message_that_is_too_large_are_told_apart(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        with pytest.raises(VmsError, match="no stream") as caught:
            await bus.publish_durable("other.subject", b"")
        assert caught.value.kind is ErrorKind.UNAVAILABLE
        with pytest.raises(VmsError) as caught:
            await bus.publish_durable("vms.events.c.k", bytes(9 << 20))
        assert caught.value.kind is ErrorKind.INVALID


async def test_a_full_fragment_stream_refuses_instead_of_losing_what_is_unread(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        small = server.settings.model_copy(update={"fragments_max_bytes": 1 << 20})
        async with Bus(small, "t") as bus:
            await bus.wait_connected(5)
            sends = (bus.publish_durable("vms.fragment.c", bytes(100_000)) for _ in range(20))
            outcomes = [await asyncio.gather(send, return_exceptions=True) for send in sends]
            refused = [outcome for (outcome,) in outcomes if isinstance(outcome, VmsError)]
            assert [outcome for (outcome,) in outcomes[:5]] == [1, 2, 3, 4, 5]
            assert 8 < len(refused) < 15
            assert {error.kind for error in refused} == {ErrorKind.UNAVAILABLE}


async def test_a_streamed_reply_stops_at_its_end_or_at_silence(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        with pytest.raises(VmsError) as caught:
            _ = [part async for part in bus.request_many("nobody", b"")]
        assert caught.value.kind is ErrorKind.UNAVAILABLE
        session = bus._link.require()
        await session.subscribe("deaf", lambda _: None)
        with pytest.raises(VmsError) as caught:
            _ = [part async for part in bus.request_many("deaf", b"", timeout_s=0.05)]
        assert caught.value.kind is ErrorKind.TIMEOUT


def test_importing_the_bus_does_not_import_nats_py() -> None:
    code = "import sys, vms.bus.client, vms.bus.outbox, vms.bus.leases; sys.exit('nats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
