"""A tiny HTTP server in a thread that gives the replies a test lists and remembers what it was asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """One reply; ``body`` that is not bytes goes out as JSON. ``length`` may lie about the body's length."""

    body: object = b""
    status: int = 200
    length: int | None = None

    @property
    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]


@dataclass
class WebStub:
    """Replies by ``"METHOD /path?query"``, or by the path alone for every method."""

    url: str
    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """Method and path of every request."""
        return [f"{request.method} {request.path}" for request in self.asked]


@contextmanager
def web_stub(**replies: Reply) -> Iterator[WebStub]:
    """Serve on a free port of loopback while the context is open."""
    stub = WebStub("")
    stub.replies.update(replies)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            stub.asked.append(
                Asked(self.command, self.path, json.loads(raw) if raw else None, dict(self.headers.items()))
            )
            reply = stub.replies.get(f"{self.command} {self.path}") or stub.replies.get(self.path)
            if reply is None:
                reply = Reply({"title": "Not found", "detail": f"nothing at {self.path}"}, 404)
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(reply.data) if reply.length is None else reply.length))
            self.end_headers()
            self.wfile.write(reply.data)

        do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - names of the standard library

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()
