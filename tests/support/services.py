"""A service's ``run()`` as a task of the test, and the port it listens on."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncGenerator, Coroutine

import httpx

_GIVEN: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, and that no other call in this process was given.

    Below the range from which the kernel takes ports for outgoing connections: those come and go during a test.
    """
    while True:
        port = random.randrange(12_000, 32_000)
        if port in _GIVEN:
            continue
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            _GIVEN.add(port)
            return port


@contextlib.asynccontextmanager
async def running(work: Coroutine[object, object, None]) -> AsyncGenerator[asyncio.Task[None]]:
    """Run a service while the context is open; its failure is the test's."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def answering(client: httpx.AsyncClient, path: str = "/health", *, timeout_s: float = 10) -> httpx.Response:
    """The first reply of a service that is starting."""
    async with asyncio.timeout(timeout_s):
        while True:
            with contextlib.suppress(httpx.TransportError):
                return await client.get(path)
            await asyncio.sleep(0.01)
