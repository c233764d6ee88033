"""Live state of the cameras in memory: a mirror of KV ``vms_status``."""

from collections.abc import AsyncIterator
from typing import Final

from vms.bus.kv import KvChange, KvOperation
from vms.common.camera import CameraStatus
from vms.common.clock import Clock
from vms.common.errors import VmsError
from vms.common.types import CameraId
from vms.proto.convert import decode
from vms.telemetry.logging import get_logger

_log = get_logger("api.status")

MAX_CAMERAS: Final = 100_000  # a bucket that holds more is not ours


class StatusMirror:
    """The last status of each camera, forgotten when its worker falls silent.

    The bucket drops silent keys by TTL without telling its watchers, so the age is checked here as well.
    """

    def __init__(self, *, clock: Clock, timeout_s: float) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._entries: dict[str, tuple[float, CameraStatus]] = {}
        self.invalid_total = 0

    def of(self, camera_id: CameraId) -> CameraStatus | None:
        """The status of a camera, or None when no worker reports on it."""
        entry = self._entries.get(camera_id)
        if entry is None:
            return None
        seen, status = entry
        if self._clock.monotonic() - seen > self._timeout_s:
            del self._entries[camera_id]
            return None
        return status

    def counts(self) -> dict[str, float]:
        """How many cameras are in each state."""
        result: dict[str, float] = {}
        for camera_id in list(self._entries):
            status = self.of(CameraId(camera_id))
            if status is not None:
                result[status.state.value] = result.get(status.state.value, 0) + 1
        return result

    def update(self, key: str, value: bytes | None) -> None:
        """Take one change of the bucket. What cannot be read counts as no report."""
        status = None
        if value is not None:
            try:
                status = decode(CameraStatus, value)
            except VmsError as error:
                self.invalid_total += 1
                _log.warning("status cannot be read", camera_id=key, reason=str(error))
        if status is None:
            self._entries.pop(key, None)
        elif key in self._entries or len(self._entries) < MAX_CAMERAS:
            self._entries[key] = (self._clock.monotonic(), status)

    async def follow(self, changes: AsyncIterator[KvChange]) -> None:
        """Mirror a watch of the bucket for as long as it lasts."""
        async for change in changes:
            if change.operation is KvOperation.PUT:
                self.update(change.key, change.value)
            elif change.operation is KvOperation.DELETE:
                self.update(change.key, None)
