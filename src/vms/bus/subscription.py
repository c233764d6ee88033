"""Subscriptions to core messages: a bounded queue that loses its oldest entries when the handler is slow."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vms.bus.link import Link
from vms.bus.mailbox import Incoming
from vms.bus.session import Session, SubscriptionHandle


@dataclass(frozen=True, slots=True)
class BusMessage:
    """A message from the bus."""

    subject: str
    payload: bytes


Handler = Callable[[BusMessage], Awaitable[None]]


class Subscription:
    """Calls ``handler`` with one message after the other, across reconnections, until it is closed."""

    def __init__(
        self, link: Link, subject: str, handler: Handler, *, max_pending_messages: int, max_pending_bytes: int
    ) -> None:
        self.dropped = 0
        self._link = link
        self._subject = subject
        self._handler = handler
        self._max_messages = max_pending_messages
        self._max_bytes = max_pending_bytes
        self._attached: tuple[Session, SubscriptionHandle] | None = None
        self._pending: deque[Incoming] = deque()
        self._pending_bytes = 0
        self._arrived = asyncio.Event()

    @property
    def pending(self) -> int:
        """Messages that wait for the handler."""
        return len(self._pending)

    async def attach(self, session: Session) -> None:
        """Subscribe on a new session."""
        self._attached = (session, await session.subscribe(self._subject, self._receive))

    async def detach(self) -> None:
        """Unsubscribe."""
        if self._attached is not None:
            session, handle = self._attached
            await session.unsubscribe(handle)

    async def run(self) -> None:
        """Feed the handler until cancelled."""
        while True:
            while self._pending:
                incoming = self._pending.popleft()
                self._pending_bytes -= len(incoming.data)
                try:
                    await self._handler(BusMessage(incoming.subject, incoming.data))
                except Exception as error:  # noqa: BLE001 - a task's edge: one bad message must not end the subscription
                    self._link.stats.handler_failures += 1
                    self._link.report("bus_handler_failed", subject=incoming.subject, error=repr(error))
            self._arrived.clear()
            await self._arrived.wait()

    def _receive(self, incoming: Incoming) -> None:
        self._pending.append(incoming)
        self._pending_bytes += len(incoming.data)
        while len(self._pending) > self._max_messages or (
            self._pending_bytes > self._max_bytes and len(self._pending) > 1
        ):
            self._pending_bytes -= len(self._pending.popleft().data)
            self.dropped += 1
            self._link.stats.slow_dropped += 1
        self._arrived.set()
