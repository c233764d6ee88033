"""RTSP server: serves streams to any number of players over TCP. The asyncio shell around `server_core`.

One owner task per connection reads requests; frames are written by the feed that publishes them, straight into the
socket (`frame_writer`). One more task looks at all connections once a second: timeouts and RTCP sender reports.
"""

import asyncio
import errno
import logging
import secrets
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from vms.common.clock import Clock, SystemClock
from vms.common.errors import ErrorKind, VmsError
from vms.media.rtsp.feed import StreamSource
from vms.media.rtsp.frame_writer import FrameWriter
from vms.media.rtsp.server_auth import DigestVerifier
from vms.media.rtsp.server_core import ServerCore, refusal
from vms.media.rtsp.server_session import ServerLimits, ServerSession, ViewerStats
from vms.media.rtsp.url import Credentials

_LOG = logging.getLogger(__name__)
_BACKLOG: Final = 512
_ACCEPT_RETRY_SECONDS: Final = 0.2


class RtspServer:
    """``async with RtspServer("127.0.0.1", 8554, source) as server:`` listens until the block ends.

    Entering raises VmsError: CONFLICT when the port is in use, INVALID or FORBIDDEN when it cannot be had. Leaving ends
    all sessions. ``port`` 0 takes a free one.
    """

    def __init__(
        self,
        host: str,
        port: int,
        source: StreamSource,
        *,
        limits: ServerLimits = ServerLimits(),  # noqa: B008 - immutable
        credentials: Credentials | None = None,
        clock: Clock = SystemClock(),  # noqa: B008 - stateless
        on_session_end: Callable[[ViewerStats], None] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._source = source
        self._limits = limits
        self._credentials = credentials
        self._clock = clock
        self._on_session_end = on_session_end
        self._sessions: dict[ServerSession, asyncio.Task[None]] = {}
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._listener = _listen(self.host, self.port)
        self.port = self._listener.getsockname()[1]
        await self._group.__aenter__()
        self._tasks = [
            self._group.create_task(self._accept(self._listener), name="rtsp-accept"),
            self._group.create_task(self._watch(), name="rtsp-watch"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in (*self._tasks, *self._sessions.values()):
            task.cancel()
        try:
            await self._group.__aexit__(kind, error, trace)
        finally:
            self._listener.close()
            for session in self._sessions:  # those whose task was cancelled before it ever ran
                session.close()
            self._sessions.clear()

    def sessions(self) -> list[ViewerStats]:
        """The viewers of this moment."""
        return [session.stats() for session in self._sessions if session.playing]

    @property
    def connections(self) -> int:
        """Open connections, playing or not."""
        return len(self._sessions)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(listener)
            except OSError as error:
                # Out of file descriptors, or the client gave up meanwhile: neither ends the server.
                _LOG.warning("accept failed: %s", error.strerror)
                await asyncio.sleep(_ACCEPT_RETRY_SECONDS)
                continue
            sock.setblocking(False)
            if len(self._sessions) >= self._limits.clients:
                _refuse(sock)
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = self._session(sock, f"{address[0]}:{address[1]}")
            self._sessions[session] = self._group.create_task(self._serve(session), name=f"rtsp-{session.peer}")

    def _session(self, sock: socket.socket, peer: str) -> ServerSession:
        verifier = None
        if self._credentials is not None:
            verifier = DigestVerifier(self._credentials.username, self._credentials.password, secrets.token_hex(16))
        core = ServerCore(session_id=secrets.token_hex(8), verifier=verifier)
        limits = self._limits
        writer = FrameWriter(
            sock,
            asyncio.get_running_loop(),
            self._clock,
            queue_bytes=limits.queue_bytes,
            packet_writes=limits.packet_writes,
        )
        return ServerSession(sock, peer, core, writer, self._source, self._limits, self._clock)

    async def _serve(self, session: ServerSession) -> None:
        """Own one connection until it ends."""
        try:
            await session.run()
        except OSError:
            pass  # reset by the client, or timed out by the network: the end of a session like any other
        except Exception:  # noqa: BLE001 - a fault in one session, ours or the source's, must not end the others
            _LOG.exception("session of %s failed", session.peer)
        finally:
            self._sessions.pop(session, None)
            stats = session.close()
            if stats.frames and self._on_session_end is not None:
                self._on_session_end(stats)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._limits.check_seconds)
            now = self._clock.monotonic()
            for session in tuple(self._sessions):
                session.check(now)


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65_535:
        raise VmsError(ErrorKind.INVALID, f"{port} is not a port: use 1 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} on {host} is in use by another program: stop it or choose another port"
            raise VmsError(ErrorKind.CONFLICT, message) from None
        kind = ErrorKind.FORBIDDEN if error.errno == errno.EACCES else ErrorKind.INVALID
        raise VmsError(kind, f"cannot listen on {host}:{port}: {error.strerror}") from None
    listener.setblocking(False)
    return listener


def _refuse(sock: socket.socket) -> None:
    """Too many clients: say so if that needs no waiting."""
    with sock:
        try:
            sock.send(refusal(503))
        except OSError:
            return
