"""The bus as a service sees it: publish, request, serve, subscribe, consume, key-value buckets."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from types import TracebackType
from typing import Final, Self

from vms.bus import consumer, jetstream
from vms.bus.consumer import ConsumerSpec, DeliveryHandler
from vms.bus.kv import KvBucket
from vms.bus.link import BusStats, Link, Report, ignore
from vms.bus.service import Service, ServiceHandler, StreamHandler
from vms.bus.session import check_responders
from vms.bus.settings import BusSettings
from vms.bus.subscription import Handler, Subscription
from vms.proto.convert import decode_reply

_DRAIN_TIMEOUT_S: Final = 1.0
_REPLIES_LIMIT: Final = 4096


class Registration:
    """A subscription or service that runs until it is closed, or the bus is."""

    def __init__(self, link: Link, attached: Subscription | Service, task: asyncio.Task[None]) -> None:
        self._link = link
        self._attached = attached
        self._task = task

    @property
    def dropped(self) -> int:
        """Messages that a slow handler never saw."""
        return self._attached.dropped if isinstance(self._attached, Subscription) else 0

    async def close(self) -> None:
        """Stop handling messages."""
        self._link.detach(self._attached)
        await self._attached.detach()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Bus:
    """A connection that is kept for ever. ``async with bus`` returns at once, whether a server is there or not.

    ``report`` is told of connections, losses and failing handlers; pass a structured logger's ``info``.
    """

    def __init__(self, settings: BusSettings, name: str, *, report: Report = ignore) -> None:
        self._link = Link(settings, name, report)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._spawn(self._link.run(), "bus-link")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._link.drain(_DRAIN_TIMEOUT_S)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._link.session is not None

    @property
    def stats(self) -> BusStats:
        """Counters since the start."""
        return self._link.stats

    async def wait_connected(self, timeout_s: float | None = None) -> None:
        """Return once connected. Raises VmsError(UNAVAILABLE) with the reason when that takes too long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._link.wait()
        except TimeoutError:
            self._link.require()

    def publish(self, subject: str, payload: bytes) -> bool:
        """Send a core message, if connected and not too many wait already; False, and counted, otherwise."""
        return self._link.send(subject, payload)

    async def publish_durable(
        self, subject: str, payload: bytes, *, msg_id: str | None = None, timeout_s: float = 5.0
    ) -> int:
        """Store a message in the stream of its subject; returns its sequence number.

        Messages with the ``msg_id`` of one stored in the last two minutes are dropped by the server. Raises
        VmsError(UNAVAILABLE | TIMEOUT); INVALID when the message is larger than the bus takes.
        """
        headers = None if msg_id is None else {jetstream.MSG_ID: msg_id}
        sequence = await jetstream.publish(self._link.require(), subject, payload, timeout_s=timeout_s, headers=headers)
        self._link.stats.stored += 1
        return sequence

    async def request(self, subject: str, payload: bytes, timeout_s: float = 5.0) -> bytes:
        """Ask a service; returns the payload of its reply or raises the VmsError that it carries.

        Raises VmsError(UNAVAILABLE) when not connected or nobody serves the subject, TIMEOUT when no reply comes.
        """
        incoming = await self._link.require().request(subject, payload, timeout_s=timeout_s)
        return decode_reply(incoming.data)

    async def request_many(self, subject: str, payload: bytes, timeout_s: float = 5.0) -> AsyncIterator[bytes]:
        """Ask a service that streams its reply; ``timeout_s`` is the longest silence. Errors as for request()."""
        session = self._link.require()
        async with session.open_replies(subject, payload, limit=_REPLIES_LIMIT) as mailbox:
            while True:
                incoming = await mailbox.get(timeout_s)
                check_responders(incoming, subject)
                if not incoming.data:
                    return
                yield decode_reply(incoming.data)

    async def serve(self, subject: str, handler: ServiceHandler, *, concurrency: int = 4) -> Registration:
        """Answer requests on a subject. What the handler returns is the reply's payload; a VmsError goes to the caller.

        Processes that serve the same subject share its requests.
        """
        return await self._register(Service(self._link, subject, handler=handler, concurrency=concurrency))

    async def serve_many(self, subject: str, handler: StreamHandler, *, concurrency: int = 4) -> Registration:
        """Answer requests with a stream of replies (see request_many)."""
        return await self._register(Service(self._link, subject, stream_handler=handler, concurrency=concurrency))

    async def subscribe(
        self,
        subject: str,
        handler: Handler,
        *,
        max_pending_messages: int = 1024,
        max_pending_bytes: int = 16 << 20,
    ) -> Registration:
        """Call ``handler`` with core messages, one at a time; when it is slow the oldest ones waiting are dropped."""
        return await self._register(
            Subscription(
                self._link,
                subject,
                handler,
                max_pending_messages=max_pending_messages,
                max_pending_bytes=max_pending_bytes,
            )
        )

    async def consume(
        self,
        stream: str,
        durable: str,
        subject: str,
        handler: DeliveryHandler,
        *,
        ack_wait_s: float = 10.0,
        max_ack_pending: int = 1,
    ) -> None:
        """Feed ``handler`` from a durable consumer until cancelled: a coroutine for a task group.

        When it returns, the message is done; when it raises, the message comes again after a delay, except that one
        refused with PROTOCOL, INVALID or UNSUPPORTED is given up. A crash brings back what was in hand after
        ``ack_wait_s``. Per subject, order is kept with ``max_ack_pending=1``.
        """
        spec = ConsumerSpec(stream, durable, subject, ack_wait_s, max_ack_pending)
        await consumer.consume(self._link, spec, handler)

    def kv(self, bucket: str) -> KvBucket:
        """A key-value bucket."""
        return KvBucket(self._link, bucket)

    async def _register(self, attached: Subscription | Service) -> Registration:
        task = self._spawn(attached.run(), "bus-handler")
        await self._link.attach(attached)
        return Registration(self._link, attached, task)

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
