"""Reads many media sockets on a shared tick: one poll with timeout 0 every few milliseconds, no wake-up per packet.

The sockets are in an epoll of their own, which the event loop does not know. Whatever came since the last tick is read
with one call per socket, which covers a whole frame, however the network spaced its packets; the price is half a tick
of latency (design note `rtsp`).

A tick has two halves: all sockets are read, then all that was read is taken apart. Kernel and interpreter each find
their code in the caches that way, instead of evicting one another twelve times a tick.
"""

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Final

_MAX_EVENTS: Final = 1024

_Entry = tuple[Callable[[], None], Callable[[], None], Callable[[Exception], None]]


class TickReader:
    """Calls back for every readable socket, once per tick. Belongs to one running event loop; rests without sockets."""

    def __init__(self, tick_s: float = 0.005) -> None:
        self._tick_s = tick_s
        self._epoll: select.epoll | None = None
        self._sockets: dict[int, _Entry] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._sockets)

    def add(
        self,
        sock: socket.socket,
        on_readable: Callable[[], None],
        on_read: Callable[[], None],
        on_failure: Callable[[Exception], None],
    ) -> None:
        """Watch a non-blocking socket until ``remove``.

        ``on_readable`` reads, and only that; ``on_read`` then works on what was read. What either raises goes to
        ``on_failure``, and the socket is no longer watched. The others never notice.
        """
        if self._epoll is None:
            self._epoll = select.epoll()
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._sockets[sock.fileno()] = (on_readable, on_read, on_failure)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    def remove(self, sock: socket.socket) -> None:
        """Stop watching a socket, before it is closed. Does nothing for one that is not watched."""
        self._forget(sock.fileno())

    def _tick(self) -> None:
        assert self._epoll is not None
        self._timer = None
        sockets = self._sockets
        read: list[tuple[int, _Entry]] = []
        for descriptor, _ in self._epoll.poll(0, _MAX_EVENTS):
            entry = sockets.get(descriptor)
            if entry is None:  # removed by somebody's failure in this same tick
                continue
            try:
                entry[0]()
            except Exception as error:  # noqa: BLE001 - one camera's fault, whatever it is, must not stop the others
                self._fail(descriptor, entry, error)
            else:
                read.append((descriptor, entry))
        for descriptor, entry in read:
            if sockets.get(descriptor) is not entry:  # removed by a callback of this same tick
                continue
            try:
                entry[1]()
            except Exception as error:  # noqa: BLE001 - as above
                self._fail(descriptor, entry, error)
        if self._sockets and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    def _fail(self, descriptor: int, entry: _Entry, error: Exception) -> None:
        self._forget(descriptor)
        entry[2](error)

    def _forget(self, descriptor: int) -> None:
        if self._sockets.pop(descriptor, None) is None or self._epoll is None:
            return
        self._epoll.unregister(descriptor)
        if not self._sockets:
            # Without sockets nothing is left behind: no timer, no file descriptor.
            self._epoll.close()
            self._epoll = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
