"""An RTSP player made of plain sockets, and a stream source that tests push frames into."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from vms.common.stream import VideoCodec, VideoParameters
from vms.media import h264
from vms.media.rtsp.feed import FeedSubscription, Frame, FrameFeed, FrameSink, Packetizer, StreamDescription

SPS = bytes.fromhex("6742c028da01e0089f961000000300100000030328f1832a")
PPS = bytes.fromhex("68ce3c80")
PARAMETERS = VideoParameters(VideoCodec.H264, 1920, 1080, h264.avcc([SPS], [PPS]), "avc1.42C028", 25.0)
DESCRIPTION = StreamDescription(PARAMETERS, ssrc=0x11223344)


class ManualSource:
    """One stream, at path ``live``; `publish` makes the next frame."""

    def __init__(self) -> None:
        self.feed = FrameFeed()
        self._packetizer = Packetizer(DESCRIPTION, sequence=65_530, first_timestamp=1000)
        self._published = 0

    async def describe(self, path: str) -> StreamDescription | None:
        return DESCRIPTION if path == "live" else None

    def subscribe(self, path: str, sink: FrameSink) -> FeedSubscription | None:
        return self.feed.subscribe(sink) if path == "live" else None

    def publish(self, *, keyframe: bool = False, size: int = 100) -> Frame:
        """The next frame, which says its number, handed to all viewers."""
        frame = self.make(keyframe=keyframe, size=size)
        self.feed.publish(frame)
        return frame

    def make(self, *, keyframe: bool = False, size: int = 100) -> Frame:
        """The next frame, not published."""
        number = self._published
        self._published += 1
        nal = (b"\x65" if keyframe else b"\x41") + number.to_bytes(4, "big") + bytes(size)
        return self._packetizer.frame(
            len(nal).to_bytes(4, "big") + nal,
            pts_90k=number * 3600,
            capture_us=1_700_000_000_000_000 + number * 40_000,
            keyframe=keyframe,
        )


@dataclass
class Answer:
    """A reply: status, headers by lower-case name, body."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Viewer:
    """``async with Viewer(port) as viewer``: requests one at a time, packets in between are kept in order."""

    port: int
    reader: asyncio.StreamReader = field(init=False)
    writer: asyncio.StreamWriter = field(init=False)
    packets: list[tuple[int, bytes]] = field(default_factory=list)
    session: str = ""
    cseq: int = 0

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def request(self, method: str, path: str, headers: Sequence[str] = (), body: bytes = b"") -> Answer:
        """Send one request and wait for its reply."""
        self.cseq += 1
        lines = [f"{method} rtsp://127.0.0.1:{self.port}/{path} RTSP/1.0", f"CSeq: {self.cseq}", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        if self.session:
            lines.append(f"Session: {self.session}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        answer = await self.answer()
        assert answer.headers["cseq"] == str(self.cseq)
        return answer

    async def answer(self) -> Answer:
        """The next reply; packets before it are kept."""
        while (first := await self.reader.readexactly(1)) == b"$":
            await self._packet()
        head = (first + await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(head[0].split()[1]), headers, body)

    async def play(self, path: str = "live", interleaved: str = "0-1") -> Answer:
        """SETUP and PLAY; returns the reply to PLAY."""
        transport = f"Transport: RTP/AVP/TCP;unicast;interleaved={interleaved}"
        setup = await self.request("SETUP", f"{path}/trackID=0", [transport])
        assert setup.status == 200
        self.session = setup.headers["session"].split(";")[0]
        answer = await self.request("PLAY", path)
        assert answer.status == 200
        return answer

    async def packet(self) -> tuple[int, bytes]:
        """The next interleaved packet: channel and bytes. Raises IncompleteReadError at the end of the connection."""
        if not self.packets:
            assert await self.reader.readexactly(1) == b"$"
            await self._packet()
        return self.packets.pop(0)

    async def frame(self, channel: int = 0) -> int:
        """The number that the next frame says, once all its packets are here; RTCP is passed over."""
        number: int | None = None
        while True:
            on, packet = await self.packet()
            if on != channel:
                continue
            if number is None:
                # A fragmented frame repeats its NAL header in the two bytes of the fragmentation unit.
                start = 14 if packet[12] & 0x1F == 28 else 13
                number = int.from_bytes(packet[start : start + 4], "big")
            if packet[1] & 0x80:
                return number

    async def at_end(self) -> bool:
        """Wait for the server to close; whether it did so without a reset."""
        try:
            while await self.reader.read(65_536):
                pass
        except ConnectionResetError:
            return False
        return True

    async def _packet(self) -> None:
        channel, *length = await self.reader.readexactly(3)
        self.packets.append((channel, await self.reader.readexactly(length[0] << 8 | length[1])))
