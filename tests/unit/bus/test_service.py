import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.nats import NatsServer, connected_bus, flushed

from vms.bus.subscription import BusMessage
from vms.common.errors import ErrorKind, VmsError


async def test_what_the_handler_raises_reaches_the_caller_by_kind(tmp_path: Path) -> None:
    async def handler(message: BusMessage) -> bytes:
        if message.payload == b"bug":
            raise RuntimeError("s3cret detail")
        raise VmsError(ErrorKind.NOT_FOUND, "no such thing", id=7)

    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        await bus.serve("vms.command.t.x", handler)
        await flushed(bus)
        with pytest.raises(VmsError, match="no such thing") as caught:
            await bus.request("vms.command.t.x", b"")
        assert (caught.value.kind, caught.value.context) == (ErrorKind.NOT_FOUND, {"id": "7"})
        with pytest.raises(VmsError) as caught:
            await bus.request("vms.command.t.x", b"bug")
        assert caught.value.kind is ErrorKind.INTERNAL
        assert "s3cret" not in caught.value.message


async def test_a_service_with_too_much_to_do_says_that_it_is_busy(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def handler(message: BusMessage) -> bytes:
        await release.wait()
        return message.payload

    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        await bus.serve("vms.command.t.x", handler, concurrency=1)
        await flushed(bus)
        requests = [asyncio.create_task(bus.request("vms.command.t.x", b"%d" % number)) for number in range(30)]
        await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
        release.set()
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, VmsError)]
        assert 0 < len(refused) < 20
        assert {error.kind for error in refused} == {ErrorKind.UNAVAILABLE}
        assert "busy" in refused[0].message


async def test_two_processes_share_the_requests_of_one_subject(tmp_path: Path) -> None:
    served: list[str] = []

    async def first(_: BusMessage) -> bytes:
        served.append("first")
        return b""

    async def second(_: BusMessage) -> bytes:
        served.append("second")
        return b""

    async with NatsServer(tmp_path) as server, connected_bus(server, "1") as one, connected_bus(server, "2") as two:
        await one.serve("vms.command.t.x", first)
        await two.serve("vms.command.t.x", second)
        await flushed(one)
        await flushed(two)
        for _ in range(40):
            await one.request("vms.command.t.x", b"")
        assert len(served) == 40
        assert set(served) == {"first", "second"}


async def test_a_streamed_reply_that_fails_ends_with_the_error(tmp_path: Path) -> None:
    async def handler(_: BusMessage) -> AsyncIterator[bytes]:
        yield b"1"
        yield b"2"
        raise VmsError(ErrorKind.CLOSED, "the camera went away")

    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        await bus.serve_many("vms.media.c.gop", handler)
        await flushed(bus)
        parts = bus.request_many("vms.media.c.gop", b"")
        assert [await anext(parts), await anext(parts)] == [b"1", b"2"]
        with pytest.raises(VmsError, match="went away"):
            await anext(parts)


async def test_a_reply_larger_than_a_message_is_an_error_to_the_caller(tmp_path: Path) -> None:
    async def handler(_: BusMessage) -> bytes:
        return bytes(9 << 20)

    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        await bus.serve("vms.command.t.x", handler)
        await flushed(bus)
        with pytest.raises(VmsError) as caught:
            await bus.request("vms.command.t.x", b"")
        assert caught.value.kind is ErrorKind.INVALID
