"""Messages as they come in, and a bounded box in which one reader finds them in order."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from vms.common.errors import ErrorKind, VmsError


class Incoming(NamedTuple):
    """A message as it came in; ``headers`` holds the status line, if any, under "Status" and "Description"."""

    subject: str
    reply: str
    data: bytes
    headers: Mapping[str, str]

    @property
    def status(self) -> str:
        """Three digits, or empty for an ordinary message."""
        return self.headers.get("Status", "")


class Mailbox:
    """Messages of one subscription in order; ends with the session. Closed by overflow rather than losing one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[Incoming] = deque()
        self._arrived = asyncio.Event()
        self._failure: VmsError | None = None

    def put(self, incoming: Incoming) -> None:
        """Add a message. Of heartbeats in a row one is kept, however slow the reader is."""
        if incoming.status == "100" and self._items and self._items[-1].status == "100":
            return
        if len(self._items) >= self._limit:
            self.fail(VmsError(ErrorKind.UNAVAILABLE, "messages from the bus came faster than they were read"))
            return
        self._items.append(incoming)
        self._arrived.set()

    def fail(self, error: VmsError) -> None:
        """Let readers get ``error`` once what is here has been read."""
        self._failure = self._failure or error
        self._arrived.set()

    async def get(self, timeout_s: float) -> Incoming:
        """The next message. Raises VmsError(TIMEOUT | UNAVAILABLE)."""
        if not self._items and self._failure is None:
            self._arrived.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._arrived.wait()
            except TimeoutError:
                raise VmsError(ErrorKind.TIMEOUT, "the bus sent nothing in time") from None
        if self._items:
            return self._items.popleft()
        assert self._failure is not None
        raise VmsError(self._failure.kind, self._failure.message)
