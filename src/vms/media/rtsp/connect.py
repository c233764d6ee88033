"""Opening a TCP connection to a camera: name look-up, every address in turn, errors that say what to do."""

import asyncio
import socket
from typing import Final, TypeAlias

from vms.common.errors import ErrorKind, VmsError
from vms.media.rtsp.url import CameraUrl

# Half a second of a 16 Mbit/s stream; the kernel may grant less. Set before connecting, so that the window can scale.
_RECEIVE_BUFFER_BYTES: Final = 1024 * 1024

_Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


async def connect(url: CameraUrl) -> socket.socket:
    """A connected non-blocking socket. Raises VmsError(UNREACHABLE); the caller bounds the time."""
    addresses = await _resolve(url)
    failure: OSError | None = None
    for family, address in addresses:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:  # cancelled, or out of time: nobody else knows the socket
            sock.close()
            raise
        else:
            return sock
    raise _unreachable(url, failure)


async def _resolve(url: CameraUrl) -> list[tuple[int, _Address]]:
    try:
        # An address needs no look-up, and so no thread of the pool.
        found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        try:
            found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError):
            raise VmsError(
                ErrorKind.UNREACHABLE, f"host name {url.host} cannot be resolved: check the camera's URL", host=url.host
            ) from None
    return [(family, address) for family, _, _, _, address in found]


def _unreachable(url: CameraUrl, failure: OSError | None) -> VmsError:
    if isinstance(failure, ConnectionRefusedError):
        text = f"{url.authority} refuses connections on port {url.port}: check the port, and that RTSP is enabled"
    else:
        reason = (failure.strerror if failure else None) or "no address"
        text = f"{url.authority} cannot be reached ({reason}): check the network and the camera's URL"
    return VmsError(ErrorKind.UNREACHABLE, text, host=url.host, port=url.port)
