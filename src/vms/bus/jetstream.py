"""Requests to JetStream and what its answers mean. JSON over core NATS (API `io.nats.jetstream.api.v1`)."""

import json
from collections.abc import Mapping
from typing import Any, Final

from vms.bus.mailbox import Incoming
from vms.bus.session import Session
from vms.common.errors import ErrorKind, VmsError

API_TIMEOUT_S: Final = 5.0
NANOSECONDS: Final = 1_000_000_000

MSG_ID: Final = "Nats-Msg-Id"
EXPECTED_LAST: Final = "Nats-Expected-Last-Subject-Sequence"

# Error codes of the server (`server/errors.json`).
_WRONG_LAST_SEQUENCE: Final = frozenset({10071, 10164})
_TOO_LARGE: Final = frozenset({10054})


async def api(session: Session, method: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Call ``$JS.API.{method}``.

    Raises VmsError(NOT_FOUND) for a stream, consumer or message that does not exist, VmsError(UNAVAILABLE | TIMEOUT)
    when JetStream is off, down or full, VmsError(INTERNAL) when it refuses what we ask.
    """
    payload = b"" if body is None else json.dumps(body).encode()
    incoming = await session.request(f"$JS.API.{method}", payload, timeout_s=API_TIMEOUT_S)
    return _answer(incoming.data, what=method)


async def publish(
    session: Session, subject: str, payload: bytes, *, timeout_s: float, headers: dict[str, str] | None = None
) -> int:
    """Store a message; returns its sequence number in the stream once the server has it.

    Raises VmsError(CONFLICT) when an expected sequence does not match, VmsError(UNAVAILABLE) when no stream takes the
    subject or the stream is full, VmsError(TIMEOUT), VmsError(INVALID) when it is too large.
    """
    try:
        incoming = await session.request(subject, payload, timeout_s=timeout_s, headers=headers)
    except VmsError as error:
        if error.kind is ErrorKind.UNAVAILABLE and error.context:
            # "nobody answers": no stream, because JetStream is starting or somebody deleted it.
            raise VmsError(ErrorKind.UNAVAILABLE, f"no stream stores {subject}", subject=subject) from None
        raise
    return int(_answer(incoming.data, what=subject, refused=ErrorKind.UNAVAILABLE)["seq"])


def stream_sequence(incoming: Incoming) -> int:
    """Sequence number in its stream of a delivered message (from ``$JS.ACK.…``)."""
    return _ack_number(incoming, -4)


def consumer_sequence(incoming: Incoming) -> int:
    """How many messages the consumer has been sent, this one included."""
    return _ack_number(incoming, -3)


def pending(incoming: Incoming) -> int:
    """How many messages wait behind this one."""
    return _ack_number(incoming, -1)


def attempt(incoming: Incoming) -> int:
    """1 at the first delivery of a message, 2 at the second."""
    return _ack_number(incoming, -5)


def _ack_number(incoming: Incoming, index: int) -> int:
    # $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>, and in the longer form
    # $JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>[.<random>]
    tokens = incoming.reply.split(".")
    if len(tokens) == 12:
        tokens.pop()
    if len(tokens) in {9, 11} and tokens[:2] == ["$JS", "ACK"]:
        text = tokens[index]
        if text.isdecimal() and len(text) <= 20:
            return int(text)
    raise VmsError(ErrorKind.PROTOCOL, f"not a delivery of JetStream: {incoming.reply[:80]!r}")


def _answer(data: bytes, *, what: str, refused: ErrorKind = ErrorKind.INTERNAL) -> dict[str, Any]:
    try:
        answer = json.loads(data)
        error = answer.get("error")
        if error is None:
            return dict(answer)
        code, err_code = int(error["code"]), int(error.get("err_code", 0))
        description = str(error.get("description", "no reason given"))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise VmsError(ErrorKind.PROTOCOL, f"JetStream's answer to {what} is not one: is this a stream?") from None
    if err_code in _WRONG_LAST_SEQUENCE:
        kind = ErrorKind.CONFLICT
    elif err_code in _TOO_LARGE:
        kind = ErrorKind.INVALID
    elif code == 404:
        kind = ErrorKind.NOT_FOUND
    elif code == 503:
        kind = ErrorKind.UNAVAILABLE
    else:
        kind = refused
    raise VmsError(kind, f"JetStream refuses {what}: {description}", err_code=err_code)
