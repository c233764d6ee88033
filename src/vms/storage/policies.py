"""What the configuration says of each camera that matters to storage: a mirror of KV ``vms_cameras``."""

from collections.abc import AsyncIterator

from vms.bus.kv import KvChange, KvOperation
from vms.common.camera import CameraConfig
from vms.common.errors import VmsError
from vms.common.volumes import DEFAULT_VOLUME
from vms.proto.convert import decode
from vms.storage.retention import RetentionPolicies
from vms.telemetry.logging import get_logger

_log = get_logger("storage.policies")


class CameraPolicies:
    """Retention and volume per camera. Nothing is known until the whole bucket was seen once."""

    def __init__(self, *, default_days: float) -> None:
        self._default_days = default_days
        self._cameras: dict[str, tuple[float, str]] = {}
        self.loaded = False

    def retention(self) -> RetentionPolicies:
        """The policies as they are now."""
        days = {camera_id: days for camera_id, (days, _) in self._cameras.items()} if self.loaded else None
        return RetentionPolicies(days, self._default_days)

    def volume_of(self, camera_id: str) -> str:
        """The volume that a camera is to be recorded on."""
        return self._cameras.get(camera_id, (0.0, DEFAULT_VOLUME))[1]

    def update(self, change: KvChange) -> None:
        """Take one change of the bucket. A configuration that cannot be read leaves the one before in force."""
        if change.operation is KvOperation.SNAPSHOT_END:
            self.loaded = True
        elif change.operation is KvOperation.DELETE:
            # Without a revision nobody deleted it: the bus lost it, and the camera's own retention stays in force.
            if change.revision:
                self._cameras.pop(change.key, None)
        else:
            try:
                config = decode(CameraConfig, change.value)
            except VmsError as error:
                _log.warning("configuration cannot be read", camera_id=change.key, reason=error.message)
                # Kept for ever rather than deleted by a default that was not meant for it.
                self._cameras.setdefault(change.key, (36_500.0, DEFAULT_VOLUME))
                return
            self._cameras[change.key] = (config.retention_days, config.volume)

    async def follow(self, changes: AsyncIterator[KvChange]) -> None:
        """Mirror a watch of the bucket for as long as it lasts."""
        async for change in changes:
            self.update(change)
