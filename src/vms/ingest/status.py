"""Publishes what every camera is doing: at once when it changes, and regularly so that silence means death."""

import asyncio
from typing import Final

from vms.bus.client import Bus
from vms.bus.outbox import Outbox
from vms.common.camera import CameraState, CameraStatus
from vms.common.clock import Clock
from vms.common.errors import VmsError
from vms.common.types import CameraId, new_id
from vms.ingest.cameras import CameraManager
from vms.ingest.session import CameraSession, disabled_status
from vms.proto import subjects
from vms.proto.convert import encode
from vms.proto.messages import Event, Severity

_DEBOUNCE_S: Final = 0.25  # a camera that flaps does not flood the bus
_WATCHED: Final = frozenset({CameraState.ONLINE, CameraState.OFFLINE, CameraState.AUTH_FAILED})


class StatusPublisher:
    """Live state into KV, transitions as events. A bus that is away costs nothing: the next round says it all."""

    def __init__(self, bus: Bus, outbox: Outbox, *, worker: str, interval_s: float, clock: Clock) -> None:
        self._bus = bus
        self._outbox = outbox
        self._worker = worker
        self._interval_s = interval_s
        self._clock = clock
        self._changed: set[CameraId] = set()
        self._wake = asyncio.Event()
        self._last_state: dict[CameraId, CameraState] = {}

    def changed(self, session: CameraSession) -> None:
        """A session's state changed."""
        camera_id, state = session.config.id, session.state.state
        self._changed.add(camera_id)
        self._wake.set()
        if state in _WATCHED and self._last_state.get(camera_id) not in {state, None}:
            self._event(session)
        if state in _WATCHED:
            self._last_state[camera_id] = state

    async def run(self, manager: CameraManager) -> None:
        """Publish until cancelled."""
        next_round = self._clock.monotonic()
        while True:
            try:
                async with asyncio.timeout(max(0.0, next_round - self._clock.monotonic())):
                    await self._wake.wait()
                await asyncio.sleep(_DEBOUNCE_S)
            except TimeoutError:
                pass
            self._wake.clear()
            everything = self._clock.monotonic() >= next_round
            if everything:
                next_round = self._clock.monotonic() + self._interval_s
            await self._publish(manager, everything=everything)

    async def _publish(self, manager: CameraManager, *, everything: bool) -> None:
        changed, self._changed = self._changed, set()
        statuses = [s.status() for s in manager.sessions if everything or s.config.id in changed]
        if everything:
            now_us, since = self._clock.now_us(), manager.disabled_since_us
            statuses += [
                disabled_status(config, since_us=since.get(config.id, now_us), now_us=now_us, worker=self._worker)
                for config in manager.disabled
            ]
        if not self._bus.connected:
            return
        bucket = self._bus.kv(subjects.STATUS_BUCKET)
        for status in statuses:
            try:
                await bucket.put(status.camera_id, encode(status))
            except VmsError:
                return  # the next round says it again

    def _event(self, session: CameraSession) -> None:
        status: CameraStatus = session.status()
        online = status.state is CameraState.ONLINE
        kind = "camera_up" if online else "camera_down"
        event = Event(
            id=new_id("evt"),
            camera_id=status.camera_id,
            kind=kind,
            at_us=status.since_us,
            severity=Severity.INFO if online else Severity.WARNING,
            text=f"{session.config.name} is online" if online else f"{session.config.name}: {status.last_error}",
            attributes={"state": status.state},
        )
        self._outbox.put(subjects.event(status.camera_id, kind), encode(event), msg_id=event.id)
