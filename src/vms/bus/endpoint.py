"""The greeting of a NATS server: who answers at an address, before any credential is sent to it."""

import asyncio
import json
from dataclasses import dataclass
from typing import Final

from vms.common.errors import ErrorKind, VmsError

_GREETING_LIMIT_BYTES: Final = 64 * 1024
_NOT_NATS: Final = "what answers at the bus address is not a NATS server"


@dataclass(frozen=True, slots=True)
class Greeting:
    """What the INFO line says (NATS client protocol)."""

    server_name: str
    version: str
    max_payload: int  # bytes
    jetstream: bool


def parse_greeting(line: bytes) -> Greeting:
    """Read an INFO line. Raises VmsError(PROTOCOL) when it is none."""
    verb, _, body = line.partition(b" ")
    if verb.upper() != b"INFO":
        raise VmsError(ErrorKind.PROTOCOL, _NOT_NATS)
    try:
        info = json.loads(body)
        return Greeting(
            server_name=str(info["server_name"]),
            version=str(info["version"]),
            max_payload=int(info["max_payload"]),
            jetstream=bool(info.get("jetstream", False)),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise VmsError(ErrorKind.PROTOCOL, _NOT_NATS) from None


async def read_greeting(host: str, port: int, *, timeout_s: float) -> Greeting:
    """Connect, read the greeting and hang up. Raises VmsError(UNREACHABLE | TIMEOUT | PROTOCOL)."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, limit=_GREETING_LIMIT_BYTES)
            try:
                return parse_greeting(await reader.readline())
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise VmsError(ErrorKind.TIMEOUT, f"the bus at {host}:{port} does not answer") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise VmsError(ErrorKind.UNREACHABLE, f"cannot reach the bus at {host}:{port}: {reason}") from None
    except ValueError:  # StreamReader: no line end within its limit
        raise VmsError(ErrorKind.PROTOCOL, _NOT_NATS) from None
