"""The HTTP applications without a server, and a bus without NATS."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
from fastapi import FastAPI
from tests.support.database import migrated_database

from vms.api.cameras.repository import CameraRepository
from vms.api.config import ApiSettings
from vms.api.main import create_app
from vms.api.projection import CameraProjection
from vms.api.status import StatusMirror
from vms.bus.client import Bus
from vms.common.clock import ManualClock
from vms.common.errors import ErrorKind, VmsError
from vms.db.engine import SessionFactory


@dataclass
class FakeEntry:
    value: bytes


@dataclass
class FakeBucket:
    """A bucket in memory. While ``down`` is set, every call fails as it does without a server."""

    values: dict[str, bytes] = field(default_factory=dict)
    down: bool = False
    puts: list[str] = field(default_factory=list)

    async def get(self, key: str) -> FakeEntry | None:
        self._check()
        return FakeEntry(self.values[key]) if key in self.values else None

    async def put(self, key: str, value: bytes) -> None:
        self._check()
        self.puts.append(key)
        self.values[key] = value

    async def delete(self, key: str) -> None:
        self._check()
        self.values.pop(key, None)

    async def keys(self) -> list[str]:
        self._check()
        return sorted(self.values)

    def _check(self) -> None:
        if self.down:
            raise VmsError(ErrorKind.UNAVAILABLE, "not connected to the bus")


@dataclass
class FakeBus:
    """Answers requests from ``handlers`` by subject; nobody serves the others."""

    connected: bool = True
    handlers: dict[str, Callable[[bytes], Awaitable[bytes]]] = field(default_factory=dict)
    stats: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(connections=1))

    async def request(self, subject: str, payload: bytes, _timeout_s: float = 5.0) -> bytes:
        if subject not in self.handlers:
            raise VmsError(ErrorKind.UNAVAILABLE, "nobody answers")
        return await self.handlers[subject](payload)


@dataclass
class Api:
    """An API application and what it stands on."""

    app: FastAPI
    client: httpx.AsyncClient
    bus: FakeBus
    bucket: FakeBucket
    statuses: StatusMirror
    projection: CameraProjection
    clock: ManualClock
    sessions: SessionFactory


@asynccontextmanager
async def api_app(
    directory: Path, settings: ApiSettings | None = None, volumes: list[str] | None = None
) -> AsyncGenerator[Api]:
    """The API on a fresh database; requests go to the application directly."""
    async with migrated_database(directory) as sessions:
        bus, bucket, clock = FakeBus(), FakeBucket(), ManualClock()
        statuses = StatusMirror(clock=clock, timeout_s=35)
        projection = CameraProjection(CameraRepository(sessions), bucket, interval_s=60)
        app = create_app(
            settings or ApiSettings(),
            cast("Bus", bus),
            sessions,
            statuses=statuses,
            projection=projection,
            volumes=volumes,
            clock=clock,
        )
        async with http_client(app, 9095) as client:
            yield Api(app, client, bus, bucket, statuses, projection, clock, sessions)


@asynccontextmanager
async def http_client(app: FastAPI, port: int) -> AsyncGenerator[httpx.AsyncClient]:
    """A client whose requests go to the application directly."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://localhost:{port}") as client:
        yield client
