"""Runs an ASGI application inside the process's event loop, until the task is cancelled."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Generator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from vms.common.errors import ErrorKind, VmsError

_GRACE_S: Final = 2  # what open downloads get when the service stops


def listen(host: str, port: int, *, service: str) -> socket.socket:
    """A listening socket, so that a port in use is known before anything else starts. Port 0 takes a free one.

    Raises VmsError: CONFLICT when the port is in use, INVALID when the address is not one of this machine.
    """
    address = "127.0.0.1" if host == "localhost" else host
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.create_server((address, port), family=family, backlog=512)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = f"{service}: port {port} is in use: stop what uses it, or set {service}.port"
            raise VmsError(ErrorKind.CONFLICT, message, host=host, port=port) from None
        reason = error.strerror or str(error)
        message = f"{service}: cannot listen on {host}:{port}: {reason}"
        raise VmsError(ErrorKind.INVALID, message, host=host, port=port) from None


async def serve(app: ASGIApp, sock: socket.socket) -> None:
    """Serve until cancelled; then stop accepting, give open replies two seconds, and leave. Closes the socket."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",  # the service's run() owns what lives as long as it does
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_GRACE_S,
        backlog=512,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        # Shielded: uvicorn must be told to stop, a cancelled serve() leaves its connections behind.
        await asyncio.shield(task)
    finally:
        server.should_exit = True
        await task
        sock.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to the process's main: several services may share it."""
        yield
