import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from tests.support.services import answering

from vms.common.errors import ErrorKind, VmsError
from vms.web.server import listen, serve


async def test_a_server_answers_until_it_is_cancelled_and_leaves_signals_alone() -> None:
    app = FastAPI()

    @app.get("/")
    async def root() -> str:
        return "here"

    sock = listen("127.0.0.1", 0, service="api")
    port = sock.getsockname()[1]
    before = signal.getsignal(signal.SIGINT)
    task = asyncio.create_task(serve(app, sock))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await answering(client, "/")).json() == "here"
        assert signal.getsignal(signal.SIGINT) is before
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(httpx.TransportError):
            await client.get("/")


async def test_a_download_that_never_ends_does_not_keep_the_service_from_stopping() -> None:
    app = FastAPI()

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            while True:
                yield b"x"
                await asyncio.sleep(0.01)

        return StreamingResponse(chunks())

    sock = listen("127.0.0.1", 0, service="api")
    task = asyncio.create_task(serve(app, sock))
    url = f"http://127.0.0.1:{sock.getsockname()[1]}/endless"
    async with httpx.AsyncClient() as client, client.stream("GET", url) as reply:
        await anext(reply.aiter_bytes())
        task.cancel()
        async with asyncio.timeout(5):
            with contextlib.suppress(asyncio.CancelledError):
                await task


def test_a_port_in_use_and_an_address_of_another_machine_are_one_clear_line() -> None:
    with listen("localhost", 0, service="api") as sock, pytest.raises(VmsError, match=r"set api\.port") as caught:
        listen("127.0.0.1", sock.getsockname()[1], service="api")
    assert caught.value.kind is ErrorKind.CONFLICT
    with pytest.raises(VmsError, match=r"cannot listen on 192\.0\.2\.1") as caught:
        listen("192.0.2.1", 0, service="api")
    assert caught.value.kind is ErrorKind.INVALID
