"""One connection to a NATS server, from login to its end. The only module that touches nats-py's client.

nats-py's own reconnection is off: a session ends when its connection does, and `link` opens another. That keeps one
owner for back-off, lets the address change between connections, and leaves no half-sent buffer of an old connection.
"""

import asyncio
import contextlib
import importlib
import itertools
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from vms.bus.endpoint import read_greeting
from vms.bus.mailbox import Incoming, Mailbox
from vms.bus.settings import BusSettings
from vms.common.errors import ErrorKind, VmsError

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

CONNECT_TIMEOUT_S: Final = 2.0
_PING_INTERVAL_S: Final = 10
_ENDED_POLL_S: Final = 0.5
_CLOSE_TIMEOUT_S: Final = 1.0
_NO_RESPONDERS: Final = "503"


class SubscriptionHandle:
    """What subscribe() returns; opaque."""

    __slots__ = ("subscription",)

    def __init__(self, subscription: "Subscription") -> None:
        self.subscription = subscription


class Session:
    """Made by open_session(); every method raises VmsError(UNAVAILABLE) once the connection is gone."""

    def __init__(self, client: "Client", ended: asyncio.Event) -> None:
        self._client = client
        self._ended = ended
        self._inbox_prefix = f"_INBOX.{secrets.token_hex(11)}"
        self._tokens = itertools.count()
        self._waiting: dict[str, Callable[[Incoming], None]] = {}
        self._failures: set[Callable[[VmsError], None]] = set()

    @property
    def max_payload_bytes(self) -> int:
        """Largest message the server takes."""
        return int(self._client.max_payload)

    async def start(self) -> None:
        """Subscribe to the inbox that all replies come to."""
        await self.subscribe(f"{self._inbox_prefix}.*", self._dispatch_reply)

    async def publish(
        self, subject: str, payload: bytes, *, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Hand a message to the connection; waits while 2 MB or more are unsent."""
        from nats import errors

        if len(payload) > self.max_payload_bytes:
            raise VmsError(
                ErrorKind.INVALID,
                f"a message of {len(payload)} bytes is larger than the bus takes ({self.max_payload_bytes})",
                subject=subject,
            )
        if self._ended.is_set():
            raise _gone()
        try:
            await self._client.publish(subject, payload, reply=reply, headers=headers)
        except (errors.Error, OSError):
            raise _gone() from None

    async def request(
        self, subject: str, payload: bytes, *, timeout_s: float, headers: dict[str, str] | None = None
    ) -> Incoming:
        """One reply. Raises VmsError(UNAVAILABLE) at once when nobody serves the subject, VmsError(TIMEOUT)."""
        future: asyncio.Future[Incoming] = asyncio.get_running_loop().create_future()

        def resolve(incoming: Incoming) -> None:
            if not future.done():
                future.set_result(incoming)

        def reject(error: VmsError) -> None:
            if not future.done():
                future.set_exception(VmsError(error.kind, error.message))

        with self._inbox(resolve, reject) as inbox:
            await self.publish(subject, payload, reply=inbox, headers=headers)
            try:
                async with asyncio.timeout(timeout_s):
                    incoming = await future
            except TimeoutError:
                raise VmsError(ErrorKind.TIMEOUT, f"no reply on {subject} within {timeout_s:g} s") from None
            check_responders(incoming, subject)
            return incoming

    @contextlib.asynccontextmanager
    async def open_replies(self, subject: str, payload: bytes, *, limit: int) -> AsyncIterator[Mailbox]:
        """Send a request that has several replies; they arrive in the mailbox while the context is open."""
        mailbox = Mailbox(limit)
        with self._inbox(mailbox.put, mailbox.fail) as inbox:
            await self.publish(subject, payload, reply=inbox)
            yield mailbox

    @contextlib.asynccontextmanager
    async def open_mailbox(self, *, limit: int) -> AsyncIterator[tuple[str, Mailbox]]:
        """A subject of our own for JetStream to deliver to, and what arrives there, while the context is open."""
        mailbox = Mailbox(limit)
        # JetStream keeps a message's own subject on delivery, so it cannot come through the shared reply inbox.
        subject = f"_INBOX.{secrets.token_hex(11)}"
        subscription = await self.subscribe(subject, mailbox.put)
        self._failures.add(mailbox.fail)
        if self._ended.is_set():
            mailbox.fail(_gone())
        try:
            yield subject, mailbox
        finally:
            self._failures.discard(mailbox.fail)
            await self.unsubscribe(subscription)

    async def subscribe(
        self, subject: str, receive: Callable[[Incoming], None], *, queue: str = ""
    ) -> SubscriptionHandle:
        """Call ``receive`` with every message; it must neither block nor raise."""
        from nats import errors

        async def deliver(msg: "Msg") -> None:
            receive(Incoming(msg.subject, msg.reply, msg.data, _plain(msg.headers)))

        try:
            return SubscriptionHandle(await self._client.subscribe(subject, queue=queue, cb=deliver))
        except (errors.Error, OSError):
            raise _gone() from None

    async def unsubscribe(self, handle: SubscriptionHandle) -> None:
        """End a subscription; nothing to do when the session has ended."""
        from nats import errors

        with contextlib.suppress(errors.Error, OSError):
            await handle.subscription.unsubscribe()

    async def flush(self, *, timeout_s: float) -> None:
        """Wait until the server has read everything sent so far. Raises VmsError(TIMEOUT | UNAVAILABLE)."""
        from nats import errors

        try:
            async with asyncio.timeout(timeout_s):
                await self._client.flush()
        except TimeoutError:
            raise VmsError(ErrorKind.TIMEOUT, "the bus does not read what is sent to it") from None
        except (errors.Error, OSError):
            raise _gone() from None

    async def wait_ended(self) -> None:
        """Return when the connection is gone."""
        # Polled as well: when nats-py fails to flush its buffer into a dead connection it skips its closed callback.
        while self._client.is_connected and not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ENDED_POLL_S):
                    await self._ended.wait()

    async def close(self) -> None:
        """Send what is buffered if the server takes it within a second, then hang up. Never raises."""
        from nats import errors

        self._ended.set()
        for fail in tuple(self._failures):
            fail(_gone())
        with contextlib.suppress(TimeoutError, errors.Error, OSError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._client.close()
        _abort(self._client)

    @contextlib.contextmanager
    def _inbox(self, receive: Callable[[Incoming], None], fail: Callable[[VmsError], None]) -> Iterator[str]:
        inbox = f"{self._inbox_prefix}.{next(self._tokens)}"
        self._waiting[inbox] = receive
        self._failures.add(fail)
        try:
            yield inbox
        finally:
            del self._waiting[inbox]
            self._failures.discard(fail)

    def _dispatch_reply(self, incoming: Incoming) -> None:
        receive = self._waiting.get(incoming.subject)
        if receive is not None:
            receive(incoming)


async def open_session(settings: BusSettings, name: str) -> Session:
    """Connect and log in. Raises VmsError(UNREACHABLE | TIMEOUT | AUTH | PROTOCOL | CONFLICT)."""
    greeting = await read_greeting(settings.host, settings.port, timeout_s=CONNECT_TIMEOUT_S)
    if settings.server_name is not None and greeting.server_name != settings.server_name:
        raise VmsError(
            ErrorKind.CONFLICT,
            f"another NATS server ('{greeting.server_name}') answers at {settings.url}: start vms up again",
        )
    # The import takes 0.1 s; in a thread it does not stall the cameras of this process.
    module = await asyncio.to_thread(importlib.import_module, "nats.aio.client")
    from nats import errors

    client: Client = module.Client()
    ended = asyncio.Event()

    async def on_closed() -> None:
        ended.set()

    async def on_error(error: Exception) -> None:
        if isinstance(error, (errors.StaleConnectionError, OSError)):
            ended.set()

    try:
        await client.connect(
            servers=[settings.url],
            name=name,
            user=settings.user or None,
            password=settings.password.get_secret_value() or None,
            token=settings.token.get_secret_value() or None,
            allow_reconnect=False,
            # nats-py tries for ever unless this is positive; our own loop does the trying.
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=round(CONNECT_TIMEOUT_S),
            ping_interval=_PING_INTERVAL_S,
            closed_cb=on_closed,
            error_cb=on_error,
        )
        session = Session(client, ended)
        await session.start()
    except BaseException as error:
        with contextlib.suppress(errors.Error, OSError):
            await client.close()
        _abort(client)
        if isinstance(error, (errors.Error, OSError, TimeoutError)):
            raise _login_error(error, settings) from None
        raise
    return session


def check_responders(incoming: Incoming, subject: str) -> None:
    """Raise VmsError(UNAVAILABLE) when the server says that nobody serves the subject."""
    if incoming.status == _NO_RESPONDERS and not incoming.data:
        raise VmsError(ErrorKind.UNAVAILABLE, f"nobody answers on {subject}: is that service running?", subject=subject)


def _plain(headers: dict[str, str] | None) -> Mapping[str, str]:
    # nats-py uses members of its own enum as some of the keys; they hash like their names, not like their values.
    return {str(getattr(key, "value", key)): value for key, value in headers.items()} if headers else {}


def _gone() -> VmsError:
    return VmsError(ErrorKind.UNAVAILABLE, "the connection to the bus is lost")


def _login_error(error: BaseException, settings: BusSettings) -> VmsError:
    if "authorization" in str(error).lower():
        return VmsError(ErrorKind.AUTH, f"the bus at {settings.url} refuses the user or password")
    return VmsError(ErrorKind.UNREACHABLE, f"cannot log in to the bus at {settings.url}: {error}")


def _abort(client: "Client") -> None:
    # close() returns early, socket open, when an attempt of nats-py's own to close has failed or hangs in a flush to
    # a server that does not read. Only the transport itself ends that.
    writer = getattr(client._transport, "_io_writer", None)  # noqa: SLF001 - see above
    if writer is not None:
        writer.transport.abort()
    # For the same reason its tasks may end with the error of the connection, which is known here already.
    for task in (client._reading_task, client._ping_interval_task, client._flusher_task):  # noqa: SLF001 - see above
        if task is not None:
            task.cancel()
            task.add_done_callback(_forget)


def _forget(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        task.exception()
