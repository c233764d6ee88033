"""The answering side of request/reply: workers that call a handler and wrap what it returns, or raises, in a Reply."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from vms.bus.link import Link
from vms.bus.mailbox import Incoming
from vms.bus.session import Session, SubscriptionHandle
from vms.bus.subscription import BusMessage
from vms.common.errors import ErrorKind, VmsError
from vms.proto.convert import encode, encode_error
from vms.proto.messages import Reply

ServiceHandler = Callable[[BusMessage], Awaitable[bytes]]
StreamHandler = Callable[[BusMessage], AsyncIterator[bytes]]

# Processes that serve the same subject share its requests.
_QUEUE_GROUP: Final = "vms"
_WAITING_PER_WORKER: Final = 16


class Service:
    """Serves one subject across reconnections. A request that finds every worker busy and the queue full is refused."""

    def __init__(
        self,
        link: Link,
        subject: str,
        *,
        concurrency: int,
        handler: ServiceHandler | None = None,
        stream_handler: StreamHandler | None = None,
    ) -> None:
        self._link = link
        self._subject = subject
        self._concurrency = concurrency
        self._handler = handler
        self._stream_handler = stream_handler
        self._attached: tuple[Session, SubscriptionHandle] | None = None
        self._requests: asyncio.Queue[Incoming] = asyncio.Queue(maxsize=concurrency * _WAITING_PER_WORKER)

    async def attach(self, session: Session) -> None:
        """Subscribe on a new session."""
        self._attached = (session, await session.subscribe(self._subject, self._receive, queue=_QUEUE_GROUP))

    async def detach(self) -> None:
        """Unsubscribe."""
        if self._attached is not None:
            session, handle = self._attached
            await session.unsubscribe(handle)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._concurrency):
                workers.create_task(self._work(), name=f"bus-serve {self._subject}")

    def _receive(self, incoming: Incoming) -> None:
        if not incoming.reply:
            return
        try:
            self._requests.put_nowait(incoming)
        except asyncio.QueueFull:
            busy = VmsError(ErrorKind.UNAVAILABLE, "the service is busy: try again")
            self._link.send(incoming.reply, encode_error(busy))

    async def _work(self) -> None:
        while True:
            incoming = await self._requests.get()
            try:
                await self._answer(incoming)
            except VmsError as error:
                await self._reply(incoming.reply, encode_error(error))
            except Exception as error:  # noqa: BLE001 - a task's edge: the caller gets an answer and the worker goes on
                self._link.stats.handler_failures += 1
                self._link.report("bus_handler_failed", subject=incoming.subject, error=repr(error))
                failure = VmsError(ErrorKind.INTERNAL, f"the service failed: {type(error).__name__}")
                await self._reply(incoming.reply, encode_error(failure))

    async def _answer(self, incoming: Incoming) -> None:
        message = BusMessage(incoming.subject, incoming.data)
        if self._handler is not None:
            payload = await self._handler(message)
            await self._reply(incoming.reply, encode(Reply(ok=True, payload=payload)))
            return
        assert self._stream_handler is not None
        async for payload in self._stream_handler(message):
            if not await self._reply(incoming.reply, encode(Reply(ok=True, payload=payload))):
                return
        await self._reply(incoming.reply, b"")

    async def _reply(self, inbox: str, data: bytes) -> bool:
        session = self._link.session
        if session is None:
            return False
        try:
            await session.publish(inbox, data)
        except VmsError as error:
            if error.kind is ErrorKind.INVALID:
                raise  # larger than a message may be: the caller is told so
            return False
        return True
