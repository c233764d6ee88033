"""Cameras in the database."""

import json
from collections.abc import Callable

from sqlalchemy import and_, delete, or_, select

from vms.common.camera import CameraConfig
from vms.common.errors import ErrorKind, VmsError
from vms.common.types import CameraId
from vms.db.engine import SessionFactory, reading, writing
from vms.db.models import Camera
from vms.web.paging import Cursor

_COLUMNS = frozenset({"id", "name", "url", "username", "password"})


class StoredCamera:
    """A configuration and when it was made and changed."""

    __slots__ = ("config", "created_us", "updated_us")

    def __init__(self, config: CameraConfig, created_us: int, updated_us: int) -> None:
        self.config = config
        self.created_us = created_us
        self.updated_us = updated_us


class CameraRepository:
    """The table of cameras. Every method is one transaction; failures are those of vms.db.engine."""

    def __init__(self, sessions: SessionFactory) -> None:
        self._sessions = sessions

    async def add(self, config: CameraConfig, now_us: int) -> StoredCamera:
        """Insert. Raises VmsError(CONFLICT) when the id is taken."""
        row = Camera(id=config.id, created_us=now_us, updated_us=now_us)
        _write(row, config)
        try:
            async with writing(self._sessions) as session:
                session.add(row)
        except VmsError as error:
            if error.kind is ErrorKind.CONFLICT:
                raise VmsError(ErrorKind.CONFLICT, f"the id {config.id} is taken: choose another one") from None
            raise
        return StoredCamera(config, now_us, now_us)

    async def get(self, camera_id: CameraId) -> StoredCamera:
        """One camera. Raises VmsError(NOT_FOUND)."""
        async with reading(self._sessions) as session:
            row = await session.get(Camera, camera_id)
        if row is None:
            raise _not_found(camera_id)
        return _read(row)

    async def config(self, camera_id: CameraId) -> CameraConfig | None:
        """One configuration, or None."""
        async with reading(self._sessions) as session:
            row = await session.get(Camera, camera_id)
        return None if row is None else _read(row).config

    async def page(self, *, limit: int, after: Cursor | None) -> list[StoredCamera]:
        """At most ``limit`` cameras in order of creation, those behind ``after``."""
        query = select(Camera).order_by(Camera.created_us, Camera.id).limit(limit)
        if after is not None:
            same = and_(Camera.created_us == after.position, Camera.id > after.id)
            query = query.where(or_(Camera.created_us > after.position, same))
        async with reading(self._sessions) as session:
            return [_read(row) for row in await session.scalars(query)]

    async def configs(self) -> list[CameraConfig]:
        """Every configuration."""
        async with reading(self._sessions) as session:
            return [_read(row).config for row in await session.scalars(select(Camera))]

    async def ping(self) -> None:
        """Raises VmsError(UNAVAILABLE) when the database does not answer."""
        async with reading(self._sessions) as session:
            await session.execute(select(1))

    async def update(
        self, camera_id: CameraId, change: Callable[[CameraConfig], CameraConfig], now_us: int
    ) -> StoredCamera:
        """Change a configuration, with no other change between. Raises VmsError(NOT_FOUND) or what ``change`` does."""
        async with writing(self._sessions) as session:
            row = await session.get(Camera, camera_id, with_for_update=True)
            if row is None:
                raise _not_found(camera_id)
            config = change(_read(row).config)
            _write(row, config)
            row.updated_us = now_us
            return StoredCamera(config, row.created_us, now_us)

    async def remove(self, camera_id: CameraId) -> None:
        """Delete. Raises VmsError(NOT_FOUND)."""
        async with writing(self._sessions) as session:
            removed = (await session.scalars(delete(Camera).where(Camera.id == camera_id).returning(Camera.id))).all()
        if not removed:
            raise _not_found(camera_id)


def _not_found(camera_id: str) -> VmsError:
    return VmsError(ErrorKind.NOT_FOUND, f"no camera {camera_id}", camera_id=camera_id)


def _write(row: Camera, config: CameraConfig) -> None:
    values = config.model_dump(mode="json")
    for name in _COLUMNS - {"id"}:
        setattr(row, name, values[name])
    row.settings = {name: value for name, value in values.items() if name not in _COLUMNS}


def _read(row: Camera) -> StoredCamera:
    values = {name: getattr(row, name) for name in _COLUMNS}
    # From JSON, so that values of newer versions pass as they are and enumerations are read from text.
    config = CameraConfig.model_validate_json(json.dumps({**row.settings, **values}))
    return StoredCamera(config, row.created_us, row.updated_us)
