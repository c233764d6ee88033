"""What the API does with cameras: the database is the truth, the bus is told afterwards."""

from collections.abc import Awaitable, Callable
from typing import Final

from vms.api.cameras.repository import CameraRepository, StoredCamera
from vms.api.cameras.schemas import (
    CameraCreate,
    CameraPage,
    CameraPatch,
    CameraStatusView,
    CameraTest,
    CameraTestResult,
    CameraView,
    apply_patch,
    config_from,
    split_credentials,
)
from vms.common.camera import CameraConfig, CameraInfo, CameraState, CameraStatus
from vms.common.clock import Clock
from vms.common.errors import ErrorKind, VmsError
from vms.common.timestamps import format_us
from vms.common.types import CameraId, new_camera_id, parse_camera_id
from vms.web.paging import Cursor, decode_cursor, encode_cursor

NO_WORKER = "no worker reports on this camera: is the ingest service running?"
_NEW_US: Final = 3_000_000  # the time that a worker has to hear of a new camera, and say so

ProbeCamera = Callable[[str, str, str], Awaitable[CameraInfo]]
"""``(url, username, password)`` → what the camera says; raises VmsError."""


class CameraService:
    """Create, read, change, remove, test."""

    def __init__(
        self,
        repository: CameraRepository,
        *,
        clock: Clock,
        status_of: Callable[[CameraId], CameraStatus | None],
        changed: Callable[[CameraId], None],
        probe: ProbeCamera,
        volumes: frozenset[str] | None,
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._status_of = status_of
        self._changed = changed
        self._probe = probe
        self._volumes = volumes

    async def create(self, body: CameraCreate) -> CameraView:
        """Add a camera. Raises VmsError: CONFLICT, INVALID, UNAVAILABLE."""
        config = config_from(body, CameraId(body.id) if body.id is not None else new_camera_id())
        self._check_volume(config)
        stored = await self._repository.add(config, self._clock.now_us())
        self._changed(config.id)
        return self._view(stored)

    async def list(self, *, limit: int, cursor: str | None) -> CameraPage:
        """One page. Raises VmsError(INVALID) for a cursor that is none."""
        after = decode_cursor(cursor) if cursor else None
        found = await self._repository.page(limit=limit + 1, after=after)
        more = None
        if len(found) > limit:
            last = found[limit - 1]
            more = encode_cursor(Cursor(last.created_us, last.config.id))
        return CameraPage(items=[self._view(stored) for stored in found[:limit]], next_cursor=more)

    async def get(self, camera_id: str) -> CameraView:
        """One camera. Raises VmsError: INVALID, NOT_FOUND."""
        return self._view(await self._repository.get(parse_camera_id(camera_id)))

    async def patch(self, camera_id: str, patch: CameraPatch) -> CameraView:
        """Change a camera. Raises VmsError: INVALID, NOT_FOUND, UNAVAILABLE."""

        def change(config: CameraConfig) -> CameraConfig:
            changed = apply_patch(config, patch)
            self._check_volume(changed)
            return changed

        stored = await self._repository.update(parse_camera_id(camera_id), change, self._clock.now_us())
        self._changed(stored.config.id)
        return self._view(stored)

    async def remove(self, camera_id: str) -> None:
        """Remove a camera; its recordings stay until retention takes them. Raises VmsError: INVALID, NOT_FOUND."""
        checked = parse_camera_id(camera_id)
        await self._repository.remove(checked)
        self._changed(checked)

    async def test(self, body: CameraTest) -> CameraTestResult:
        """Connect to a camera and report what it offers. Raises VmsError with what went wrong."""
        url, username, password = split_credentials(body.url)
        info = await self._probe(
            url, body.username or username or "", body.password.get_secret_value() or password or ""
        )
        return CameraTestResult(**info.model_dump(exclude={"kind"}))

    def _check_volume(self, config: CameraConfig) -> None:
        if self._volumes is not None and config.volume not in self._volumes:
            known = ", ".join(sorted(self._volumes))
            raise VmsError(ErrorKind.INVALID, f"volume: there is no '{config.volume}'; known: {known}")

    def _view(self, stored: StoredCamera) -> CameraView:
        config = stored.config
        return CameraView(
            id=config.id,
            name=config.name,
            url=split_credentials(config.url)[0],
            has_credentials=bool(config.username or config.password.get_secret_value()),
            enabled=config.enabled,
            record=config.record,
            container=config.container,
            sink=config.sink,
            retention_days=config.retention_days,
            volume=config.volume,
            created=format_us(stored.created_us),
            updated=format_us(stored.updated_us),
            status=status_view(
                config, self._status_of(config.id), is_new=0 <= self._clock.now_us() - stored.created_us < _NEW_US
            ),
        )


def status_view(config: CameraConfig, status: CameraStatus | None, *, is_new: bool = False) -> CameraStatusView:
    """The state as far as it is known; silence of the workers is an error, not the last good news."""
    if status is None:
        if not config.enabled:
            return CameraStatusView(state=CameraState.DISABLED)
        if is_new:
            return CameraStatusView(state=CameraState.CONNECTING)
        return CameraStatusView(state=CameraState.OFFLINE, last_error=NO_WORKER, last_error_kind=ErrorKind.UNAVAILABLE)
    same = status.model_dump(exclude={"camera_id", "since_us", "next_try_us", "last_frame_us", "updated_us"})
    return CameraStatusView(
        **same,
        since=format_us(status.since_us) if status.since_us else None,
        next_try=_optional(status.next_try_us),
        last_frame=_optional(status.last_frame_us),
    )


def _optional(wall_us: int | None) -> str | None:
    return None if wall_us is None else format_us(wall_us)
