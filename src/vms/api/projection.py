"""Desired state on the bus: KV ``vms_cameras`` is made equal to the database, which is the truth.

A change is committed first and projected afterwards by one loop that reads the row again, so puts cannot overtake each
other, and a bus that is down delays the projection but never the change.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from vms.common.camera import CameraConfig
from vms.common.errors import VmsError
from vms.common.types import CameraId
from vms.proto.convert import decode, encode
from vms.telemetry.logging import get_logger

_log = get_logger("api.projection")

_RETRY_S = 1.0


class Entry(Protocol):
    """A value in a bucket."""

    @property
    def value(self) -> bytes:
        """Its bytes."""
        ...


class Bucket(Protocol):
    """A key-value bucket of the bus, as far as it is needed here."""

    async def get(self, key: str) -> Entry | None:
        """The value, or None."""
        ...

    async def put(self, key: str, value: bytes) -> object:
        """Set a value."""
        ...

    async def delete(self, key: str) -> object:
        """Remove a key."""
        ...

    async def keys(self) -> list[str]:
        """All keys."""
        ...


class Cameras(Protocol):
    """The cameras as stored."""

    async def config(self, camera_id: CameraId) -> CameraConfig | None:
        """One configuration, or None."""
        ...

    async def configs(self) -> list[CameraConfig]:
        """All of them."""
        ...


class CameraProjection:
    """Projects one camera after a change, and all of them now and then."""

    def __init__(
        self,
        cameras: Cameras,
        bucket: Bucket,
        *,
        interval_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cameras = cameras
        self._bucket = bucket
        self._interval_s = interval_s
        self._sleep = sleep
        self._changed: set[CameraId] = set()
        self._all = True
        self._wake = asyncio.Event()
        self.error: str | None = "desired state was not passed on yet"
        self.reconciled_total = 0

    def changed(self, camera_id: CameraId) -> None:
        """Note that a camera was added, changed or removed."""
        self._changed.add(camera_id)
        self._wake.set()

    def reconcile_soon(self) -> None:
        """Note that the bucket may differ: the bus was away."""
        self._all = True
        self._wake.set()

    async def run(self) -> None:
        """Project until cancelled; failures are retried every second and reported once."""
        while True:
            try:
                await self.step()
            except VmsError as error:
                self._all = True
                if self.error != error.message:
                    _log.warning("desired state cannot be passed on", reason=error.message)
                self.error = error.message
                await self._sleep(_RETRY_S)
                continue
            if self.error is not None:
                _log.info("desired state passed on")
                self.error = None
            try:
                await asyncio.wait_for(self._wake.wait(), self._interval_s)
            except TimeoutError:
                self._all = True

    async def step(self) -> None:
        """Project what was noted. Raises VmsError when the bus or the database does not answer."""
        self._wake.clear()
        if self._all:
            self._all = False
            self._changed.clear()
            await self._reconcile()
        while self._changed:
            camera_id = self._changed.pop()
            config = await self._cameras.config(camera_id)
            if config is None:
                await self._bucket.delete(camera_id)
            else:
                await self._bucket.put(camera_id, encode(config))

    async def _reconcile(self) -> None:
        # Keys first: a camera that is added meanwhile is then not taken for one that was removed.
        surplus = set(await self._bucket.keys())
        for config in await self._cameras.configs():
            surplus.discard(config.id)
            if not _same(await self._bucket.get(config.id), config):
                await self._bucket.put(config.id, encode(config))
        for key in surplus:
            await self._bucket.delete(key)
        self.reconciled_total += 1


def _same(entry: Entry | None, config: CameraConfig) -> bool:
    """Whether a value says what it should; bytes may differ, since maps have no order."""
    if entry is None:
        return False
    try:
        return decode(CameraConfig, entry.value) == config
    except VmsError:  # it is not a configuration: it has to be replaced
        return False
