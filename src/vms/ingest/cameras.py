"""Follows the desired state and keeps one running session for each camera that is this worker's to record."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from vms.bus.client import Bus
from vms.bus.kv import KvOperation
from vms.bus.leases import LeaseKeeper
from vms.common.camera import CameraConfig
from vms.common.clock import Clock
from vms.common.errors import VmsError
from vms.common.types import CameraId
from vms.ingest.desired import load_desired, save_desired
from vms.ingest.session import CameraSession
from vms.ingest.sessions import RunningSession, SessionFactory
from vms.proto import subjects
from vms.proto.convert import decode
from vms.telemetry.logging import get_logger

_CHECK_S: Final = 1.0
_RESTART_S: Final = 1.0
_VANISHED_GRACE_S: Final = 15.0
_STOP_PATIENCE_S: Final = 5.0
_log = get_logger("vms.ingest.cameras")

# Only these make a session start anew; a new name or retention must not cost a frame.
_SESSION_FIELDS: Final = ("url", "username", "password", "enabled", "record", "container", "sink", "volume")


class CameraManager:
    """Desired cameras in, running sessions out. Changes of one camera never touch another."""

    def __init__(
        self,
        factory: SessionFactory,
        *,
        bus: Bus,
        leases: LeaseKeeper,
        desired_file: Path,
        clock: Clock,
        on_change: Callable[[CameraSession], None],
    ) -> None:
        self._factory = factory
        self._bus = bus
        self._leases = leases
        self._desired_file = desired_file
        self._clock = clock
        self._on_change = on_change
        self._desired: dict[CameraId, CameraConfig] = {}
        self._running: dict[CameraId, RunningSession] = {}
        self._tasks: dict[CameraId, asyncio.Task[None]] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._unsaved = asyncio.Event()
        self._on_bus: set[CameraId] = set()
        self._vanished: dict[CameraId, float] = {}  # camera → when its absence counts
        self.disabled_since_us: dict[CameraId, int] = {}

    @property
    def sessions(self) -> Iterable[CameraSession]:
        """The sessions that run now."""
        return [running.session for running in self._running.values()]

    def session(self, camera_id: CameraId) -> CameraSession | None:
        """The running session of one camera."""
        running = self._running.get(camera_id)
        return running.session if running is not None else None

    @property
    def disabled(self) -> Iterable[CameraConfig]:
        """Cameras that are configured and switched off."""
        return [config for config in self._desired.values() if not config.enabled]

    async def run(self) -> None:
        """Record what was recorded before at once, then follow the bus; on cancellation stop every session."""
        self._desired = dict(load_desired(self._desired_file))
        # What this worker recorded before is its own until the bus says that another worker took over.
        self._leases.assume([camera_id for camera_id, config in self._desired.items() if config.enabled])
        self._changed.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._reconcile())
                tasks.create_task(self._follow())
                tasks.create_task(self._check())
                tasks.create_task(self._remember())
        finally:
            await self._stop_all()

    async def _follow(self) -> None:
        """Mirror the bucket of cameras for ever."""
        async with contextlib.aclosing(self._bus.kv(subjects.CAMERAS_BUCKET).watch()) as changes:
            async for change in changes:
                if change.operation is KvOperation.PUT:
                    self._put(CameraId(change.key), change.value)
                elif change.operation is KvOperation.DELETE and change.revision:
                    self._on_bus.discard(CameraId(change.key))
                    self._remove(CameraId(change.key))
                else:
                    self._on_bus.discard(CameraId(change.key))
                    self._note_vanished()
                self._desired_changed()

    def _put(self, camera_id: CameraId, value: bytes) -> None:
        self._on_bus.add(camera_id)
        self._vanished.pop(camera_id, None)
        try:
            config = decode(CameraConfig, value)
        except VmsError as error:
            # What runs goes on: an entry that this version cannot read must not end a recording.
            _log.error("camera entry unreadable", camera_id=camera_id, error=error.message)
            return
        if config.id != camera_id:
            _log.error("camera entry of another camera", camera_id=camera_id, holds=config.id)
            return
        self._desired[camera_id] = config

    def _remove(self, camera_id: CameraId) -> None:
        self._desired.pop(camera_id, None)
        self._vanished.pop(camera_id, None)

    def _note_vanished(self) -> None:
        """Cameras that nobody deleted and that are not there any more: the bus may have lost its data."""
        deadline = self._clock.monotonic() + _VANISHED_GRACE_S
        for camera_id in self._desired.keys() - self._on_bus:
            self._vanished.setdefault(camera_id, deadline)

    def _expire_vanished(self) -> None:
        """The API projects its cameras again within seconds; what is still missing then was really deleted.

        A bucket without any camera says nothing about them: then recording goes on with what was known.
        """
        now = self._clock.monotonic()
        if not self._on_bus:
            # The API has not begun: the time that it gets starts when it does.
            self._vanished = dict.fromkeys(self._vanished, now + _VANISHED_GRACE_S)
            return
        expired = [camera_id for camera_id, deadline in self._vanished.items() if now >= deadline]
        for camera_id in expired:
            _log.warning("camera vanished from the bus", camera_id=camera_id)
            self._remove(camera_id)
        if expired:
            self._desired_changed()

    def _desired_changed(self) -> None:
        self._changed.set()
        self._unsaved.set()

    async def _remember(self) -> None:
        """Keep the file up to date. A snapshot brings many changes at once, and a sync may take its time."""
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            await asyncio.to_thread(self._save, dict(self._desired))

    def _save(self, desired: dict[CameraId, CameraConfig]) -> None:
        try:
            save_desired(self._desired_file, desired)
        except OSError as error:
            _log.error("cannot remember cameras", path=str(self._desired_file), error=error.strerror)

    async def _reconcile(self) -> None:
        """Bring the running sessions in line with desired state and leases."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = {i: c for i, c in self._desired.items() if c.enabled}
            self._note_disabled()
            self._leases.want(wanted)
            ours = {i: c for i, c in wanted.items() if i in self._leases.held}
            await asyncio.gather(*(self._stop(camera_id) for camera_id in self._tasks.keys() - ours))
            await asyncio.gather(*(self._restart(config) for config in ours.values() if not self._is_unchanged(config)))

    def _is_unchanged(self, config: CameraConfig) -> bool:
        """Whether a running session can go on with ``config``, which it then has."""
        running = self._running.get(config.id)
        if running is None or not _same_session(running.session.config, config):
            return False
        running.session.config = config
        return True

    def leases_changed(self) -> None:
        """A lease was gained or lost."""
        self._changed.set()

    def _note_disabled(self) -> None:
        now_us = self._clock.now_us()
        switched_off = {config.id for config in self.disabled}
        self.disabled_since_us = {i: self.disabled_since_us.get(i, now_us) for i in switched_off}

    async def _restart(self, config: CameraConfig) -> None:
        await self._stop(config.id)
        running = await self._factory.make(config, self._on_change)
        self._running[config.id] = running
        self._tasks[config.id] = asyncio.create_task(self._keep_running(running), name=f"camera {config.id}")
        self._on_change(running.session)

    async def _stop(self, camera_id: CameraId) -> None:
        self._running.pop(camera_id, None)
        task = self._tasks.pop(camera_id, None)
        if task is None:
            return
        task.cancel()
        # A disk that hangs keeps its own cameras waiting, not all others. A successor's files are safe: what the
        # volume still has to write for this session comes first.
        await asyncio.wait({task}, timeout=_STOP_PATIENCE_S)
        if not task.done():
            _log.warning("session does not end", camera_id=camera_id, action="going on without it")
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)

    async def _stop_all(self) -> None:
        tasks = [*self._tasks.values(), *self._stopping]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._running.clear()

    async def _keep_running(self, running: RunningSession) -> None:
        while True:
            try:
                await running.run()
            except Exception as error:  # noqa: BLE001 - a task's edge: a bug in one camera's session ends neither it nor others
                _log.error("session ended", camera_id=running.session.config.id, error=repr(error), exc_info=error)
            await asyncio.sleep(_RESTART_S)

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_S)
            self._expire_vanished()
            for running in self._running.values():
                running.session.check()


def _same_session(old: CameraConfig, new: CameraConfig) -> bool:
    return all(getattr(old, name) == getattr(new, name) for name in _SESSION_FIELDS)
