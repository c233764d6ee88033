import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.support.services import free_port
from tests.support.web_stub import Reply, web_stub

from vms.cli import client
from vms.common.errors import ErrorKind, VmsError


def failure(method: str, url: str, body: object = None) -> VmsError:
    with pytest.raises(VmsError) as caught:
        client.call(method, url, body)
    assert "\n" not in caught.value.message
    return caught.value


def test_a_call_sends_json_and_returns_what_the_reply_holds() -> None:
    with web_stub() as web:
        web.replies["POST /cameras"] = Reply({"id": "cam1"}, 201)
        web.replies["DELETE /cameras/cam1"] = Reply(b"", 204)
        assert client.call("POST", f"{web.url}/cameras", {"name": "Tür"}) == {"id": "cam1"}
        assert client.call("DELETE", f"{web.url}/cameras/cam1") is None
        assert web.asked[0].body == {"name": "Tür"}
        assert web.asked[0].headers["Content-Type"] == "application/json"
        assert web.asked[1].body is None


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (Reply({"title": "Not found", "detail": "no camera x"}, 404), ErrorKind.NOT_FOUND, "no camera x"),
        (Reply({"title": "Conflict"}, 409), ErrorKind.CONFLICT, "Conflict"),
        (
            Reply({"errors": [{"field": "url", "message": "must start with rtsp://"}]}, 422),
            ErrorKind.INVALID,
            "url: must start with rtsp://",
        ),
        (
            Reply(b"<html>", 503),
            ErrorKind.UNAVAILABLE,
            "HTTP 503 Service Unavailable from HOST: is that the address of this system?",
        ),
        (
            Reply([1], 500),
            ErrorKind.INTERNAL,
            "HTTP 500 Internal Server Error from HOST: is that the address of this system?",
        ),
        (Reply(b"", 418), ErrorKind.INTERNAL, "HTTP 418 I'm a Teapot from HOST: is that the address of this system?"),
    ],
)
def test_a_refusal_is_the_services_own_explanation(reply: Reply, kind: ErrorKind, message: str) -> None:
    with web_stub() as web:
        web.replies["/x"] = reply
        error = failure("GET", f"{web.url}/x")
        assert (error.kind, error.message) == (kind, message.replace("HOST", web.url.removeprefix("http://")))


def test_nobody_there_says_how_to_start_the_system() -> None:
    error = failure("GET", f"http://127.0.0.1:{free_port()}/x")
    assert error.kind is ErrorKind.UNREACHABLE
    assert "./vms up" in error.message


@pytest.mark.parametrize("url", ["file:///etc/passwd", "localhost:9095/x", "ftp://host/x", ""])
def test_only_http_is_spoken(url: str) -> None:
    assert failure("GET", url).kind is ErrorKind.INVALID


@pytest.mark.parametrize("url", ["http://", "http://a b/", "http://host:port/", "http://a..b/", "http://h/a b"])
def test_an_address_that_is_none_is_told_in_one_line(url: str) -> None:
    assert failure("GET", url).kind is ErrorKind.UNREACHABLE


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"\xff\xfe"])
def test_another_program_at_the_address_is_noticed(body: bytes) -> None:
    with web_stub() as web:
        web.replies["/x"] = Reply(body)
        assert failure("GET", f"{web.url}/x").kind is ErrorKind.PROTOCOL


@pytest.mark.parametrize("body", [[], {"things": []}, "x", 5])
def test_a_list_that_is_none_is_noticed(body: object) -> None:
    with web_stub() as web:
        web.replies["/x"] = Reply(body)
        with pytest.raises(VmsError, match="is not this system's API"):
            list(client.pages(f"{web.url}/x"))


def test_pages_follow_the_cursor_to_the_end() -> None:
    with web_stub() as web:
        web.replies["/x?limit=2"] = Reply({"items": [{"n": 1}, {"n": 2}], "next_cursor": "a/b&c"})
        web.replies["/x?limit=2&cursor=a%2Fb%26c"] = Reply({"items": [{"n": 3}], "next_cursor": None})
        assert [item["n"] for item in client.pages(f"{web.url}/x?limit=2")] == [1, 2, 3]
        web.replies["/y"] = Reply({"items": []})
        assert list(client.pages(f"{web.url}/y")) == []


def test_a_proxy_of_the_environment_is_not_asked() -> None:
    code = "import sys; from vms.cli import client; print(client.call('GET', sys.argv[1]))"
    with web_stub() as web:
        web.replies["/x"] = Reply({"a": 1})
        done = subprocess.run(
            [sys.executable, "-c", code, f"{web.url}/x"],
            env={**os.environ, "http_proxy": f"http://127.0.0.1:{free_port()}", "no_proxy": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, web.lines) == ("{'a': 1}\n", ["GET /x"])


def test_a_download_appears_when_it_is_whole(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    with web_stub() as web:
        web.replies["/clip"] = Reply(data)
        assert client.download(f"{web.url}/clip", tmp_path / "a.mp4") == len(data)
    assert (tmp_path / "a.mp4").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_download_that_breaks_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_bytes(b"old")
    with web_stub() as web:
        web.replies["/clip"] = Reply(b"half", length=100)
        with pytest.raises(VmsError, match="ended after 4 of 100 bytes") as caught:
            client.download(f"{web.url}/clip", target)
        assert caught.value.kind is ErrorKind.CLOSED
        with pytest.raises(VmsError, match="nothing at /none"):
            client.download(f"{web.url}/none", target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_connection_that_is_reset_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc")
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/clip"
        with pytest.raises(VmsError, match="connection broke") as caught:
            client.download(url, tmp_path / "a.mp4")
        thread.join()
    assert caught.value.kind is ErrorKind.CLOSED
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with web_stub() as web:
        web.replies["/clip"] = Reply(b"data")
        for target in (tmp_path / "missing" / "a.mp4", tmp_path / "file" / "a.mp4"):
            with pytest.raises(VmsError, match="cannot be written") as caught:
                client.download(f"{web.url}/clip", target)
            assert caught.value.kind is ErrorKind.STORAGE
