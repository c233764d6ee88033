"""The floor: raw socket to file, nothing parsed. What any recorder must pay, in this language on this machine.

python -m vms.bench.floor URL_WITH_{n} CAMERAS DIRECTORY
"""

import re
import selectors
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

_BUFFER_BYTES = 262_144


def main(url: str, cameras: int, directory: Path) -> None:
    """Play every stream and write what comes, until killed. Prints ``ready`` when all play."""
    selector = selectors.EpollSelector()
    for n in range(cameras):
        sock = play(url.replace("{n}", str(n)))
        out = (directory / f"{n}.raw").open("wb", buffering=0)
        selector.register(sock, selectors.EVENT_READ, (sock.recv_into, out.write))
    print("ready", flush=True)
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    while True:
        for key, _ in selector.select():
            receive, write = key.data
            size = receive(buffer)
            if not size:
                sys.exit("a stream ended")
            write(buffer[:size])


def play(url: str) -> socket.socket:
    """A non-blocking socket on which interleaved RTP arrives."""
    parts = urlsplit(url)
    sock = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 554))
    try:
        described = _request(sock, "DESCRIBE", url, 1, "Accept: application/sdp\r\n")
        control = next(
            line.split(":", 1)[1] for line in reversed(described.split("\r\n")) if line.startswith("a=control:")
        )
        track = control if control.startswith("rtsp:") else f"{url}/{control}"
        reply = _request(sock, "SETUP", track, 2, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n")
        session = next(line for line in reply.split("\r\n") if line.lower().startswith("session:"))
        _request(sock, "PLAY", url, 3, f"Session: {session.split(':')[1].split(';')[0].strip()}\r\n", exact=True)
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _request(sock: socket.socket, method: str, url: str, cseq: int, headers: str, *, exact: bool = False) -> str:
    sock.sendall(f"{method} {url} RTSP/1.0\r\nCSeq: {cseq}\r\n{headers}\r\n".encode())
    reply = b""
    while not _is_complete(reply):
        data = sock.recv(1 if exact else 65536)
        if not data:
            sys.exit(f"the server closed the connection at {method}")
        reply += data
    return reply.decode(errors="replace")


def _is_complete(reply: bytes) -> bool:
    head, blank, body = reply.partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length:\s*(\d+)", head)
    return bool(blank) and len(body) >= (int(length[1]) if length else 0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
