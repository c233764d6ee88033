"""The handshake of a session: connect, talk until PLAY is sent, follow redirects, come back through a closed door."""

import asyncio
import socket
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.media.rtsp.client_core import ClientCore, ClientState
from vms.media.rtsp.connect import connect
from vms.media.rtsp.message import parse_message

_READ_BYTES: Final = 65536


async def open_session(core: ClientCore) -> tuple[socket.socket, bytes]:
    """Connect and agree on a session. Returns the connection, and what came behind the answer to SETUP.

    Raises VmsError; the caller bounds the time. However it ends without a session, no connection is left open.
    """
    closed_behind_challenge = False
    while True:
        sock = await connect(core.url)
        rest = None
        try:
            core.start()
            rest = await _converse(core, sock)
        finally:
            if rest is None:
                sock.close()
        if rest is not None:
            return sock, rest
        if core.state is ClientState.REDIRECTED:
            continue
        # Some servers close the connection behind a 401. The answer is known now: once more, from the start.
        if not core.retrying_auth or closed_behind_challenge:
            raise VmsError(ErrorKind.CLOSED, "the camera closed the connection during the handshake")
        closed_behind_challenge = True


async def _converse(core: ClientCore, sock: socket.socket) -> bytes | None:
    """Exchange messages until PLAY is sent; None when the connection is of no more use."""
    loop = asyncio.get_running_loop()
    received = bytearray()
    try:
        while True:
            await loop.sock_sendall(sock, core.take_output())
            if core.state is ClientState.STARTING:
                return bytes(received)
            data = await loop.sock_recv(sock, _READ_BYTES)
            if not data:
                return None
            received += data
            _take_messages(core, received)
            if core.state is ClientState.REDIRECTED:
                return None
    except OSError:
        return None


def _take_messages(core: ClientCore, received: bytearray) -> None:
    """Hand complete messages to the core and cut them off; what comes behind the answer to SETUP stays."""
    position = 0
    while core.state not in {ClientState.STARTING, ClientState.REDIRECTED} and position < len(received):
        if received[position] == 0x24:  # media of a session that is not ours to hear yet
            end = position + 4 + int.from_bytes(received[position + 2 : position + 4], "big")
            if end > len(received) or position + 4 > len(received):
                break
            position = end
            continue
        found = parse_message(received, position, len(received))
        if found is None:
            break
        message, position = found
        core.receive(message)
    del received[:position]
