"""Durable consumers: every stored message reaches the handler at least once, in the order of its subject.

The order holds because the server has one message in flight (``max_ack_pending=1``, the default): a message that fails
comes again before the next one comes. With more in flight, order is kept only as long as nothing fails.

At least once means that handlers must not mind a repetition: a server that is killed has forgotten its last
acknowledgements and repeats that stretch, in order. Skipping what was handled already by its sequence number was
considered and left out: a stream that is made again, or lost its tail in a power cut, uses those numbers anew.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from vms.bus import jetstream
from vms.bus.jetstream import NANOSECONDS, api
from vms.bus.link import Link
from vms.bus.mailbox import Incoming, Mailbox
from vms.bus.session import Session
from vms.common.errors import ErrorKind, VmsError

_PULL_EXPIRES_S: Final = 20.0
_HEARTBEAT_S: Final = 2.0
_PULL_BATCH: Final = 256
_RETRY_S: Final = 0.5
_NAK_FIRST_S: Final = 0.5
_NAK_LIMIT_S: Final = 30.0
# No retry can make such a message good; keeping it would hold up everything behind it for ever.
_HOPELESS: Final = frozenset({ErrorKind.PROTOCOL, ErrorKind.INVALID, ErrorKind.UNSUPPORTED})


@dataclass(frozen=True, slots=True)
class Delivery:
    """A stored message. ``attempt`` is 1 the first time; ``sequence`` is its place in the stream."""

    subject: str
    payload: bytes
    sequence: int
    attempt: int


DeliveryHandler = Callable[[Delivery], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """One durable consumer."""

    stream: str
    durable: str
    subject: str
    ack_wait_s: float
    max_ack_pending: int

    def config(self) -> dict[str, object]:
        """As JetStream's API takes it."""
        return {
            "durable_name": self.durable,
            "filter_subject": self.subject,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": round(self.ack_wait_s * NANOSECONDS),
            "max_ack_pending": self.max_ack_pending,
            "max_deliver": -1,
            "replay_policy": "instant",
        }


def nak_delay_s(attempt: int) -> float:
    """Seconds before a message whose handler failed comes again: doubles with each attempt, up to a limit."""
    return min(_NAK_FIRST_S * 2.0 ** min(attempt - 1, 16), _NAK_LIMIT_S)


async def consume(link: Link, spec: ConsumerSpec, handler: DeliveryHandler) -> None:
    """Run until cancelled, across server restarts and streams that are deleted and made again."""
    while True:
        session = await link.wait()
        try:
            await api(
                session,
                f"CONSUMER.DURABLE.CREATE.{spec.stream}.{spec.durable}",
                {"stream_name": spec.stream, "config": spec.config()},
            )
            async with session.open_mailbox(limit=2 * _PULL_BATCH) as (inbox, mailbox):
                await _pull(link, session, spec, handler, inbox=inbox, mailbox=mailbox)
        except VmsError as error:
            if link.session is session:
                link.report("bus_consumer_interrupted", stream=spec.stream, error=error.message)
                if error.kind is ErrorKind.NOT_FOUND:
                    with contextlib.suppress(VmsError):
                        await link.ensure_streams(session)
        await asyncio.sleep(_RETRY_S if link.session is session else 0)


async def _pull(
    link: Link, session: Session, spec: ConsumerSpec, handler: DeliveryHandler, *, inbox: str, mailbox: Mailbox
) -> None:
    """Ask for messages and handle them until the session or the consumer is gone (VmsError)."""
    batch = min(_PULL_BATCH, spec.max_ack_pending)
    wanted = 0
    while True:
        if wanted == 0:
            await _ask(session, spec, inbox, batch)
            wanted = batch
        try:
            incoming = await mailbox.get(3 * _HEARTBEAT_S)
        except VmsError as error:
            if error.kind is ErrorKind.TIMEOUT:
                raise VmsError(ErrorKind.NOT_FOUND, "the consumer is gone") from None
            raise
        if incoming.status == "100":
            continue
        if incoming.status:
            # 404 and 408: nothing came before the pull expired. Others (409): consumer deleted, server going down.
            if incoming.status not in {"404", "408"}:
                raise VmsError(ErrorKind.NOT_FOUND, incoming.headers.get("Description", incoming.status))
            wanted = 0
            continue
        wanted -= 1
        await _handle(link, spec, handler, incoming)


async def _ask(session: Session, spec: ConsumerSpec, inbox: str, batch: int) -> None:
    request = (
        f'{{"batch":{batch},"expires":{round(_PULL_EXPIRES_S * NANOSECONDS)},'
        f'"idle_heartbeat":{round(_HEARTBEAT_S * NANOSECONDS)}}}'
    )
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{spec.stream}.{spec.durable}"
    await session.publish(subject, request.encode(), reply=inbox)


async def _handle(link: Link, spec: ConsumerSpec, handler: DeliveryHandler, incoming: Incoming) -> None:
    attempt = jetstream.attempt(incoming)
    delivery = Delivery(incoming.subject, incoming.data, jetstream.stream_sequence(incoming), attempt)
    loop = asyncio.get_running_loop()
    extender: asyncio.TimerHandle | None = None

    def extend() -> None:
        # A handler may take longer than the server waits for it.
        nonlocal extender
        link.send(incoming.reply, b"+WPI")
        extender = loop.call_later(spec.ack_wait_s / 3, extend)

    extender = loop.call_later(spec.ack_wait_s / 3, extend)
    try:
        await handler(delivery)
        verdict = b"+ACK"
    except asyncio.CancelledError:
        # Give it back at once: whoever goes on need not wait for ack_wait to pass.
        link.send(incoming.reply, b"-NAK")
        raise
    except Exception as error:  # noqa: BLE001 - a task's edge: the message comes again, the consumer goes on
        hopeless = isinstance(error, VmsError) and error.kind in _HOPELESS
        link.stats.handler_failures += 1
        link.stats.rejected += hopeless
        link.report(
            "bus_message_rejected" if hopeless else "bus_handler_failed",
            subject=incoming.subject,
            sequence=delivery.sequence,
            attempt=attempt,
            error=repr(error),
        )
        verdict = b"+TERM" if hopeless else f'-NAK {{"delay":{round(nak_delay_s(attempt) * NANOSECONDS)}}}'.encode()
    finally:
        extender.cancel()
    # The verdict may go by a later connection than the message came by.
    while True:
        session = await link.wait()
        with contextlib.suppress(VmsError):
            await session.publish(incoming.reply, verdict)
            return
        await asyncio.sleep(0)
