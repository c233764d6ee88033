"""A real nats-server with JetStream on a free port, stopped and started at will, and a bus connected to it."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Self

from vms.bus.client import Bus
from vms.bus.server import EmbeddedNats
from vms.bus.settings import BusSettings


class NatsServer:
    """The embedded server of one data directory. Started again, it keeps its port and its streams."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        # Small reservations, and the address read anew at each connection, as the services do.
        self.settings = BusSettings.discover(data_dir)
        self._port = 0
        self._server: EmbeddedNats | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def embedded(self) -> EmbeddedNats:
        """The server that runs."""
        assert self._server is not None
        return self._server

    async def start(self) -> None:
        """Start it; ready when this returns."""
        self._server = await EmbeddedNats(self.data_dir, port=self._port).__aenter__()
        self._port = self._server.settings.port

    async def stop(self) -> None:
        """Stop it in good order, if it runs."""
        server, self._server = self._server, None
        if server is not None:
            await server.__aexit__(None, None, None)

    def kill(self) -> None:
        """kill -9: its supervisor starts it again."""
        pid = self.embedded.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def connected_bus(server: NatsServer, name: str = "test") -> AsyncIterator[Bus]:
    """A bus that is connected."""
    async with Bus(server.settings, name) as bus:
        await bus.wait_connected(5)
        yield bus


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Return as soon as ``condition`` holds; TimeoutError when it does not come true."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)


async def flushed(bus: Bus) -> None:
    """Return when the server has seen the subscriptions and messages of ``bus``."""
    session = await bus._link.wait()
    await bus._link.drain(2)
    await session.flush(timeout_s=2)
