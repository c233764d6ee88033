"""Announcements on their way to JetStream: kept in order while the bus is away, never in the way of the recorder."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, Protocol

from vms.common.errors import ErrorKind, VmsError
from vms.common.supervise import Backoff, BackoffPolicy

DEFAULT_CAPACITY: Final = 20_000
_POLICY: Final = BackoffPolicy(first_s=0.1, limit_s=2.0)
_RETRY: Final = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT, ErrorKind.PROTOCOL, ErrorKind.INTERNAL})


class DurablePublisher(Protocol):
    """The part of the bus that the outbox needs."""

    def publish_durable(
        self, subject: str, payload: bytes, *, msg_id: str | None = None, timeout_s: float = 5.0
    ) -> Awaitable[int]:
        """Store one message."""
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message in the outbox."""

    subject: str
    payload: bytes
    msg_id: str
    droppable: bool


class OutboxQueue:
    """First in, first out, bounded. When full, the oldest droppable message goes, or else the oldest."""

    def __init__(self, capacity: int) -> None:
        self.dropped = 0
        self._capacity = capacity
        self._items: OrderedDict[int, Outgoing] = OrderedDict()
        self._droppable: deque[int] = deque()  # numbers of droppable items; may name some that have left
        self._next = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Outgoing) -> None:
        """Append, making room if need be."""
        if len(self._items) >= self._capacity:
            self._drop_one()
        self._items[self._next] = item
        if item.droppable:
            self._droppable.append(self._next)
        self._next += 1

    def pop(self) -> Outgoing:
        """Take the oldest."""
        number, item = self._items.popitem(last=False)
        if self._droppable and self._droppable[0] == number:
            self._droppable.popleft()
        return item

    def _drop_one(self) -> None:
        self.dropped += 1
        if self._droppable:
            del self._items[self._droppable.popleft()]
        else:
            self._items.popitem(last=False)


class Outbox:
    """Publishes durably, one message at a time and in order; ``run()`` does the work.

    A message whose reply was lost is sent again with the same id, which the server recognises for two minutes.
    """

    def __init__(self, bus: DurablePublisher, *, capacity: int = DEFAULT_CAPACITY, timeout_s: float = 5.0) -> None:
        self.published = 0
        self.rejected = 0  # refused for good: too large
        self._bus = bus
        self._queue = OutboxQueue(capacity)
        self._timeout_s = timeout_s
        self._filled = asyncio.Event()
        self._in_hand = False

    @property
    def dropped(self) -> int:
        """Messages lost because too many waited."""
        return self._queue.dropped

    @property
    def waiting(self) -> int:
        """Messages that the server has not acknowledged yet."""
        return len(self._queue) + self._in_hand

    def put(self, subject: str, payload: bytes, msg_id: str, *, droppable: bool = False) -> None:
        """Add a message; never blocks.

        ``droppable`` ones, which a later one makes up for, go first when the outbox is full.
        """
        self._queue.put(Outgoing(subject, payload, msg_id, droppable))
        self._filled.set()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            while len(self._queue):
                item = self._queue.pop()
                self._in_hand = True
                try:
                    await self._publish(item)
                finally:
                    self._in_hand = False
            self._filled.clear()
            await self._filled.wait()

    async def _publish(self, item: Outgoing) -> None:
        backoff = Backoff(_POLICY)
        while True:
            try:
                await self._bus.publish_durable(
                    item.subject, item.payload, msg_id=item.msg_id, timeout_s=self._timeout_s
                )
            except VmsError as error:
                if error.kind not in _RETRY:
                    self.rejected += 1
                    return
            else:
                self.published += 1
                return
            await asyncio.sleep(backoff.next_delay_s())
