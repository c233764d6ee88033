import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.bus.endpoint import Greeting, parse_greeting, read_greeting
from vms.bus.server_files import choose_port
from vms.common.errors import ErrorKind, VmsError

INFO = b'INFO {"server_name":"x1","version":"2.15.1","max_payload":8388608,"jetstream":true,"port":4222} \r\n'


def test_a_greeting_says_who_answers() -> None:
    assert parse_greeting(INFO) == Greeting("x1", "2.15.1", 8 << 20, jetstream=True)


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"INFO " + tail))
def test_any_line_is_a_greeting_or_a_protocol_error(line: bytes) -> None:
    with pytest.raises(VmsError) as caught:
        parse_greeting(line)
    assert caught.value.kind is ErrorKind.PROTOCOL


@contextlib.asynccontextmanager
async def stranger(answer: bytes, *, hang_up: bool) -> AsyncIterator[int]:
    """Something that listens and is no NATS server; yields its port."""
    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        if not hang_up:
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        served.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        await served.wait()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", b"", b"x" * 100_000, b"INFO {}\r\n"])
async def test_a_stranger_at_the_address_is_a_protocol_error(answer: bytes) -> None:
    async with stranger(answer, hang_up=True) as port:
        with pytest.raises(VmsError) as caught:
            await read_greeting("127.0.0.1", port, timeout_s=2)
    assert caught.value.kind is ErrorKind.PROTOCOL


async def test_nobody_at_the_address_is_unreachable() -> None:
    with pytest.raises(VmsError) as caught:
        await read_greeting("127.0.0.1", choose_port("127.0.0.1", 0), timeout_s=2)
    assert caught.value.kind is ErrorKind.UNREACHABLE


async def test_a_server_that_says_nothing_is_a_timeout() -> None:
    async with stranger(b"", hang_up=False) as port:
        with pytest.raises(VmsError) as caught:
            await read_greeting("127.0.0.1", port, timeout_s=0.05)
    assert caught.value.kind is ErrorKind.TIMEOUT
