import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vms.bench import floor

SDP = "v=0\r\nm=video 0 RTP/AVP 96\r\na=control:trackID=1\r\n"


@contextmanager
def camera(*replies: bytes) -> Iterator[tuple[str, list[str]]]:
    """A camera that gives these replies, each in two pieces, and remembers the requests."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                for reply in replies:
                    asked.append(connection.recv(65536).decode())
                    connection.sendall(reply[: len(reply) // 2])
                    connection.sendall(reply[len(reply) // 2 :])
                connection.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"rtsp://127.0.0.1:{server.getsockname()[1]}/cam0", asked
        finally:
            thread.join(10)


def reply(body: str = "", **headers: str) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"RTSP/1.0 200 OK\r\n{lines}{length}\r\n{body}".encode()


def test_it_plays_a_stream_and_leaves_the_first_packets_to_whoever_reads() -> None:
    media = b"$\x00\x00\x04abcd"
    with camera(reply(SDP), reply(Session="S1;timeout=60"), reply() + media) as (url, asked):
        with floor.play(url) as sock:
            with selectors.DefaultSelector() as selector:
                selector.register(sock, selectors.EVENT_READ)
                data = b""
                while len(data) < len(media):
                    assert selector.select(10)
                    data += sock.recv(100)
            assert data == media
        assert [line.split()[:2] for line in asked] == [
            ["DESCRIBE", url],
            ["SETUP", f"{url}/trackID=1"],
            ["PLAY", url],
        ]
        assert "Session: S1\r\n" in asked[2]


def test_an_absolute_control_is_used_as_it_is() -> None:
    described = reply(SDP.replace("trackID=1", "rtsp://127.0.0.1/other"))
    with camera(described, reply(Session="S"), reply()) as (url, asked):
        floor.play(url).close()
    assert asked[1].split()[1] == "rtsp://127.0.0.1/other"


def test_a_server_that_hangs_up_ends_it_instead_of_spinning() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            connection, _ = server.accept()
            connection.recv(65536)  # or the answer would be a reset
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(SystemExit, match="closed the connection at DESCRIBE"):
            floor.play(f"rtsp://127.0.0.1:{server.getsockname()[1]}/x")
        thread.join()
