"""Keeps one session to the bus: connects, ensures the streams, and starts again when the connection ends."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from vms.bus import topology
from vms.bus.session import Session, open_session
from vms.bus.settings import BusSettings
from vms.common.errors import ErrorKind, VmsError
from vms.common.supervise import Backoff, BackoffPolicy

_POLICY: Final = BackoffPolicy(first_s=0.05, limit_s=2.0)
# A session that ends sooner than this counts as a failure, so that a server that drops us is not stormed.
_HEALTHY_AFTER_S: Final = 1.0
_ENSURE_RETRY_S: Final = 2.0


class Report(Protocol):
    """Told of state changes by event name, as a structured logger's ``info`` is."""

    def __call__(self, event: str, /, **context: object) -> object:
        """``context`` never holds a secret."""
        ...


def ignore(event: str, /, **context: object) -> None:
    """Report to nobody."""


class Attachment(Protocol):
    """Something to be set up on every new session."""

    async def attach(self, session: Session) -> None:
        """Raises VmsError when the session is gone already."""
        ...


@dataclass(slots=True)
class BusStats:
    """Counters since the start, for metrics."""

    published: int = 0  # core messages handed to a connection
    dropped: int = 0  # core messages refused or lost while disconnected, or because too many waited
    stored: int = 0  # messages that JetStream acknowledged
    connections: int = 0
    connect_failures: int = 0
    handler_failures: int = 0  # errors that a handler did not foresee
    slow_dropped: int = 0  # messages dropped because a subscriber was slow
    rejected: int = 0  # stored messages given up because no retry can help


class Link:
    """The session that is up now, if any. ``run()`` is its life; the rest may be called before, during and after."""

    def __init__(self, settings: BusSettings, name: str, report: Report) -> None:
        self.session: Session | None = None  # set once subscriptions and streams are in place
        self.stats = BusStats()
        self.last_error: VmsError | None = None
        self.report = report
        self._settings = settings
        self._name = name
        self._changed = asyncio.Event()
        self._attachments: set[Attachment] = set()
        self._attached_to: Session | None = None
        self._outgoing: deque[tuple[str, bytes]] = deque()
        self._outgoing_bytes = 0
        self._outgoing_ready = asyncio.Event()
        self._outgoing_sent = asyncio.Event()
        self._outgoing_sent.set()

    def require(self) -> Session:
        """The session; raises VmsError(UNAVAILABLE) when there is none."""
        if self.session is None:
            reason = f": {self.last_error}" if self.last_error is not None else ""
            raise VmsError(ErrorKind.UNAVAILABLE, f"not connected to the bus{reason}")
        return self.session

    async def wait(self) -> Session:
        """The session, once there is one."""
        while self.session is None:
            await self._changed.wait()
        return self.session

    async def attach(self, attachment: Attachment) -> None:
        """Set ``attachment`` up now, if connected, and on every later session."""
        self._attachments.add(attachment)
        if self._attached_to is not None:
            await _attach(attachment, self._attached_to)

    def detach(self, attachment: Attachment) -> None:
        """Forget an attachment."""
        self._attachments.discard(attachment)

    def send(self, subject: str, payload: bytes) -> bool:
        """Queue a core message; False, and counted, when it cannot be sent now."""
        session = self.session
        size = len(payload)
        if (
            session is None
            or size > session.max_payload_bytes
            or self._outgoing_bytes + size > self._settings.pending_max_bytes
        ):
            self.stats.dropped += 1
            return False
        self._outgoing.append((subject, payload))
        # The allowance for what an entry costs beside its payload bounds a flood of empty messages too.
        self._outgoing_bytes += size + len(subject)
        self._outgoing_ready.set()
        self._outgoing_sent.clear()
        return True

    async def ensure_streams(self, session: Session) -> None:
        """Create the declared streams where they are missing; raises VmsError."""
        await topology.ensure(session, self._settings)

    async def run(self) -> None:
        """Connect for ever, until cancelled. Never raises anything else."""
        backoff = Backoff(_POLICY)
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                session = await open_session(self._settings.resolve(), self._name)
            except VmsError as error:
                self._note_failure(error)
            except Exception as error:  # noqa: BLE001 - a task's edge: nothing that a server says may end the link
                self._note_failure(VmsError(ErrorKind.INTERNAL, f"{type(error).__name__}: {error}"))
            else:
                await self._use(session)
                if loop.time() - started >= _HEALTHY_AFTER_S:
                    backoff.reset()
            await asyncio.sleep(backoff.next_delay_s())

    async def drain(self, timeout_s: float) -> None:
        """Give what is queued a last chance to be sent."""
        session = self.session
        if session is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._outgoing_sent.wait()
                await session.flush(timeout_s=timeout_s)
        except (TimeoutError, VmsError):
            self.stats.dropped += len(self._outgoing)

    async def _use(self, session: Session) -> None:
        tasks: list[asyncio.Task[None]] = []
        try:
            # Whoever registers from here on attaches by itself.
            self._attached_to = session
            for attachment in tuple(self._attachments):
                await _attach(attachment, session)
            ensured = await self._try_ensure(session)
            self.last_error = None
            self.session = session
            self._changed.set()
            self.stats.connections += 1
            self.report("bus_connected", connections=self.stats.connections)
            tasks.append(asyncio.create_task(self._send_queued(session), name="bus-send"))
            if not ensured:
                tasks.append(asyncio.create_task(self._keep_ensuring(session), name="bus-ensure"))
            await session.wait_ended()
            self.last_error = VmsError(ErrorKind.UNAVAILABLE, "the connection to the bus is lost")
            self.report("bus_disconnected")
        finally:
            self.session = self._attached_to = None
            self._changed.clear()
            self.stats.dropped += len(self._outgoing)
            self._outgoing.clear()
            self._outgoing_bytes = 0
            self._outgoing_sent.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await session.close()

    async def _send_queued(self, session: Session) -> None:
        while True:
            while self._outgoing:
                subject, payload = self._outgoing.popleft()
                self._outgoing_bytes -= len(payload) + len(subject)
                try:
                    await session.publish(subject, payload)
                except VmsError:
                    self.stats.dropped += 1
                else:
                    self.stats.published += 1
            self._outgoing_ready.clear()
            self._outgoing_sent.set()
            await self._outgoing_ready.wait()

    async def _try_ensure(self, session: Session) -> bool:
        try:
            await self.ensure_streams(session)
        except VmsError as error:
            self.report("bus_streams_missing", error=error.message)
            return False
        return True

    async def _keep_ensuring(self, session: Session) -> None:
        while True:
            await asyncio.sleep(_ENSURE_RETRY_S)
            if await self._try_ensure(session):
                return

    def _note_failure(self, error: VmsError) -> None:
        self.stats.connect_failures += 1
        # Said once, not every two seconds of an outage.
        if self.last_error is None or self.last_error.message != error.message:
            self.report("bus_unreachable", error=error.message)
        self.last_error = error


async def _attach(attachment: Attachment, session: Session) -> None:
    try:
        await attachment.attach(session)
    except VmsError:
        # The session is gone; the next one attaches again.
        return
