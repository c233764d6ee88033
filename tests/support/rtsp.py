"""A camera that says what the test wants: an RTSP server on loopback with scripted replies and media bytes."""

import asyncio
import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self, TypeAlias

from tests.support.bitstream import H264_PPS, h264_sps
from tests.support.rtp_packets import Sender, h264_payloads

from vms.media.rtsp.message import Headers, Request, Response, parse_message

SPS = h264_sps(fps=25, reorder=0)
KEYFRAME = [SPS, H264_PPS, b"\x65\x88" + b"k" * 1500]
FRAME = [b"\x41\x9a" + b"p" * 400]
SETS = ",".join(base64.b64encode(nal).decode() for nal in (SPS, H264_PPS))
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\na=control:*\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n"
    f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={SETS}\r\n"
).encode()

# What a script may give for a request: a reply, raw bytes, or None for silence. A list is used up one by one.
Reply: TypeAlias = Response | bytes | None
Script: TypeAlias = Reply | list[Response] | Callable[[Request], Reply]


def reply(status: int = 200, reason: str = "OK", body: bytes = b"", **headers: str) -> Response:
    """A response; underscores in header names stand for hyphens."""
    return Response(status, reason, Headers((name.replace("_", "-"), value) for name, value in headers.items()), body)


def media_bytes(frames: int, *, sender: Sender | None = None) -> bytes:
    """Interleaved packets of a keyframe and ``frames - 1`` others."""
    sender = sender or Sender()
    return b"".join(packet for n in range(frames) for packet in sender.frame(h264_payloads(FRAME if n else KEYFRAME)))


DEFAULT: Mapping[str, Script] = {
    "OPTIONS": reply(Public="OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"),
    "DESCRIBE": reply(body=SDP, Content_Type="application/sdp"),
    "SETUP": reply(Transport="RTP/AVP/TCP;unicast;interleaved=0-1", Session="abc;timeout=60"),
    "PLAY": reply(Session="abc"),
    "GET_PARAMETER": reply(),
    "TEARDOWN": reply(),
}


@dataclass
class FakeCamera:
    """Serves ``async with``. ``script`` replaces default replies by method; ``media`` is sent behind the PLAY reply.

    ``drop_behind`` closes the connection behind the first reply to that method; ``end_with_media`` behind the media.
    """

    script: Mapping[str, Script] = field(default_factory=dict)
    media: Iterable[bytes] = ()
    end_with_media: bool = False
    drop_behind: str | None = None
    requests: list[Request] = field(default_factory=list)
    received: bytearray = field(default_factory=bytearray)  # interleaved packets of the client
    replies: bytearray = field(default_factory=bytearray)  # answers of the client to requests of the camera
    connections: int = 0
    open_connections: int = 0

    async def __aenter__(self) -> Self:
        self._writers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._changed = asyncio.Event()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers.values():
            writer.transport.abort()
        await asyncio.gather(*self._writers)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/stream"

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something the camera saw makes the condition true."""
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._writers[task] = writer
        task.add_done_callback(self._writers.pop)
        self.connections += 1
        self.open_connections += 1
        try:
            await self._converse(reader, writer)
        except ConnectionError:
            pass
        finally:
            self.open_connections -= 1
            self._changed.set()
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = bytearray()
        while data := await reader.read(65536):
            buffer += data
            while buffer:
                if buffer[0] == 0x24:
                    end = 4 + int.from_bytes(buffer[2:4], "big")
                    if len(buffer) < end:
                        break
                    self.received += buffer[:end]
                    del buffer[:end]
                    self._changed.set()
                    continue
                found = parse_message(buffer, 0, len(buffer))
                if found is None:
                    break
                message, position = found
                del buffer[:position]
                if isinstance(message, Response):
                    self.replies += message.encode()
                    self._changed.set()
                elif not await self._answer(message, writer):
                    return

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        self.requests.append(request)
        self._changed.set()
        script = self.script.get(request.method, DEFAULT.get(request.method))
        if isinstance(script, list):
            script = script.pop(0) if script else DEFAULT[request.method]
        answer = script(request) if callable(script) else script
        if isinstance(answer, Response):
            headers = answer.headers.replaced("CSeq", str(request.cseq))
            answer = Response(answer.status, answer.reason, headers, answer.body).encode()
        assert answer is None or isinstance(answer, bytes)
        if answer is not None:
            writer.write(answer)
        if request.method == self.drop_behind:
            self.drop_behind = None
            await writer.drain()
            return False
        if request.method == "PLAY":
            for chunk in self.media:
                writer.write(chunk)
                await writer.drain()
            return not self.end_with_media
        return True
