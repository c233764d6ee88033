"""One session on a socket pair with a clock that tests move: timeouts, reports, the end of the stream."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from tests.support.rtsp_viewer import DESCRIPTION, ManualSource

from vms.common.clock import ManualClock
from vms.media.rtsp.frame_writer import FrameWriter
from vms.media.rtsp.server_core import ServerCore
from vms.media.rtsp.server_session import ServerLimits, ServerSession


@dataclass
class _Rig:
    session: ServerSession
    source: ManualSource
    clock: ManualClock
    task: asyncio.Task[None]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, method: str, path: str = "live", extra: str = "") -> bytes:
        self.writer.write(f"{method} rtsp://h/{path} RTSP/1.0\r\nCSeq: 1\r\n{extra}\r\n".encode())
        return await self.reader.readuntil(b"\r\n\r\n")

    async def play(self) -> bytes:
        await self.ask("SETUP", "live/trackID=0", "Transport: RTP/AVP/TCP;interleaved=0-1\r\n")
        return await self.ask("PLAY", "live", "Session: 5e55\r\n")

    async def packet(self) -> tuple[int, bytes]:
        head = await self.reader.readexactly(4)
        assert head[:1] == b"$"
        return head[1], await self.reader.readexactly(head[2] << 8 | head[3])

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.session.check(self.clock.monotonic())


@pytest.fixture
async def rig() -> AsyncIterator[_Rig]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    clock, source = ManualClock(), ManualSource()
    writer = FrameWriter(ours, asyncio.get_running_loop(), clock)
    limits = ServerLimits(frames_per_session=40)
    session = ServerSession(ours, "peer", ServerCore(session_id="5e55"), writer, source, limits, clock)
    reader, client = await asyncio.open_connection(sock=theirs)
    task = asyncio.create_task(session.run())
    yield _Rig(session, source, clock, task, reader, client)
    task.cancel()
    await asyncio.wait([task])
    session.close()
    client.close()
    await client.wait_closed()


async def test_play_sends_the_clock_mapping_and_then_the_latest_gop(rig: _Rig) -> None:
    rig.source.publish()
    first = rig.source.publish(keyframe=True)
    rig.source.publish()
    reply = await rig.play()
    assert f"seq={first.sequence & 0xFFFF};rtptime={first.rtp_timestamp}".encode() in reply
    channel, report = await rig.packet()
    assert (channel, report[1]) == (1, 200)
    assert [(await rig.packet())[0] for _ in range(2)] == [0, 0]
    assert rig.session.stats().frames == 2
    assert rig.session.playing


def _mapping_error_us(report: bytes) -> int:
    """How far the report is from the line through the stream's known capture times."""
    ssrc, ntp, rtp = (int(value) for value in struct.unpack(">IQI", report[4:20]))
    assert ssrc == DESCRIPTION.ssrc
    wall_us = ((ntp >> 32) - 2_208_988_800) * 1_000_000 + ((ntp & 0xFFFFFFFF) * 1_000_000 >> 32)
    capture_us = 1_700_000_000_000_000 + round((((rtp - 1000 + 2**31) % 2**32) - 2**31) * 1e6 / 90_000)
    return abs(wall_us - capture_us)


async def test_sender_reports_come_every_five_seconds_and_map_rtp_to_capture_time(rig: _Rig) -> None:
    rig.source.publish(keyframe=True)
    await rig.play()
    assert _mapping_error_us((await rig.packet())[1]) <= 12
    await rig.packet()
    rig.wait(1)  # said again, for receivers that did not know the source before its first packet
    assert _mapping_error_us((await rig.packet())[1]) <= 12
    rig.wait(4.9)
    rig.wait(0.2)
    rig.clock.step(3600)  # the mapping is of the stream, whatever the host's clock says meanwhile
    rig.wait(5.1)
    for _ in range(2):
        channel, report = await rig.packet()
        assert (channel, report[1]) == (1, 200)
        assert _mapping_error_us(report) <= 12
        assert struct.unpack(">II", report[20:28]) == (1, 105)


async def test_the_stream_end_is_said_by_bye_and_the_connection_is_closed_after_a_while(rig: _Rig) -> None:
    rig.source.publish(keyframe=True)
    await rig.play()
    for _ in range(2):
        await rig.packet()
    rig.source.feed.end()
    channel, packet = await rig.packet()
    assert (channel, packet[1], packet[-8:-6]) == (1, 201, b"\x81\xcb")
    assert not rig.session.playing
    rig.wait(0.4)
    assert not rig.reader.at_eof()
    rig.wait(0.2)
    assert await rig.reader.read() == b""


async def test_tearing_down_after_bye_is_answered_and_then_closes(rig: _Rig) -> None:
    rig.source.publish(keyframe=True)
    await rig.play()
    rig.source.feed.end()
    rig.writer.write(b"TEARDOWN rtsp://h/live RTSP/1.0\r\nCSeq: 9\r\nSession: 5e55\r\n\r\n")
    rest = await rig.reader.read()
    while rest[:1] == b"$":
        rest = rest[4 + (rest[2] << 8 | rest[3]) :]
    assert rest.startswith(b"RTSP/1.0 200 OK\r\nCSeq: 9\r\n")


async def test_the_session_ends_after_the_frames_it_was_limited_to(rig: _Rig) -> None:
    await rig.play()
    for number in range(60):
        rig.source.publish(keyframe=number % 10 == 0)
    stats = rig.session.stats()
    assert (stats.first_index, stats.last_index, stats.frames, stats.frames_dropped) == (0, 39, 40, 0)
    assert not rig.source.feed.watched


async def test_a_connection_that_asks_nothing_is_closed_after_30_seconds(rig: _Rig) -> None:
    rig.wait(29)
    await rig.ask("OPTIONS")
    rig.wait(29)
    rig.writer.write(b"OPTIONS rtsp://h")  # half a request is no sign of life
    rig.wait(2)
    assert await rig.reader.read() == b""
    await rig.task


async def test_a_viewer_that_only_watches_is_never_idle_but_one_that_takes_nothing_is_closed(rig: _Rig) -> None:
    rig.source.publish(keyframe=True)
    await rig.play()
    rig.wait(1000)
    assert rig.session.playing
    for _ in range(30):
        rig.source.publish(size=60_000)
    assert rig.session.stats().unsent_bytes > 0
    rig.wait(16)
    await rig.task


async def test_a_bad_request_is_answered_and_lingers_no_longer_than_five_seconds(rig: _Rig) -> None:
    assert (await rig.ask("BAD REQUEST")).startswith(b"RTSP/1.0 400 ")
    assert await rig.reader.read() == b""
    rig.writer.write(b"more and more" * 100)
    rig.wait(6)
    await rig.task
