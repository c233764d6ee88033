"""The server on loopback: many clients, broken clients, and nothing left of them."""

import asyncio
import gc
import os
import random
import socket
from pathlib import Path

import pytest
from tests.support.rtsp_viewer import ManualSource, Viewer

from vms.common.errors import ErrorKind, VmsError
from vms.media.rtsp.feed import StreamDescription
from vms.media.rtsp.server import RtspServer
from vms.media.rtsp.server_session import ServerLimits, ViewerStats
from vms.media.rtsp.url import Credentials


async def test_a_viewer_gets_every_frame_from_the_latest_keyframe_on() -> None:
    source = ManualSource()
    async with RtspServer("127.0.0.1", 0, source) as server, Viewer(server.port) as viewer:
        source.publish()
        source.publish(keyframe=True)
        source.publish(size=5000)
        described = await viewer.request("DESCRIBE", "live")
        assert described.headers["content-type"] == "application/sdp"
        await viewer.play()
        source.publish(size=5000)
        assert [await viewer.frame() for _ in range(3)] == [1, 2, 3]
        assert [(s.path, s.frames) for s in server.sessions()] == [("live", 3)]


async def test_a_live_start_waits_for_the_next_keyframe() -> None:
    source = ManualSource()
    async with (
        RtspServer("127.0.0.1", 0, source, limits=ServerLimits(live_start=True)) as server,
        Viewer(server.port) as viewer,
    ):
        source.publish(keyframe=True)
        answer = await viewer.play()
        assert "seq" not in answer.headers["rtp-info"]
        source.publish()
        source.publish(keyframe=True)
        assert await viewer.frame() == 2


async def test_viewers_on_other_channels_get_the_same_frames_there() -> None:
    source = ManualSource()
    async with RtspServer("127.0.0.1", 0, source) as server, Viewer(server.port) as viewer:
        source.publish(keyframe=True, size=4000)
        await viewer.play(interleaved="6-7")
        assert await viewer.frame(channel=6) == 0


async def test_requests_while_playing_are_answered_between_whole_frames() -> None:
    source = ManualSource()
    async with RtspServer("127.0.0.1", 0, source) as server, Viewer(server.port) as viewer:
        source.publish(keyframe=True)
        await viewer.play()
        for _ in range(50):
            source.publish(size=20_000)
        assert (await viewer.request("GET_PARAMETER", "live")).status == 200
        assert [await viewer.frame() for _ in range(51)] == list(range(51))
        assert (await viewer.request("TEARDOWN", "live")).status == 200
        assert server.sessions() == []


async def test_a_client_that_reads_nothing_neither_delays_others_nor_grows_memory() -> None:
    source = ManualSource()
    limits = ServerLimits(queue_bytes=300_000)
    async with (
        RtspServer("127.0.0.1", 0, source, limits=limits) as server,
        Viewer(server.port) as slow,
        Viewer(server.port) as quick,
    ):
        slow.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        source.publish(keyframe=True)
        await slow.play()
        await quick.play()
        assert await quick.frame() == 0
        for number in range(1, 300):
            source.publish(keyframe=number % 10 == 0, size=60_000)
            assert await asyncio.wait_for(quick.frame(), 5) == number
        stats = {s.frames_dropped > 0: s for s in server.sessions()}
        assert stats[False].frames == 300
        assert stats[True].frames_dropped > 50
        assert stats[True].unsent_bytes <= limits.queue_bytes


async def test_garbage_and_half_requests_do_not_disturb_a_viewer() -> None:
    source = ManualSource()
    chaos = random.Random(7)
    junk = [chaos.randbytes(200), b"$\x00\xff\xffabc", b"DESCRIBE rtsp://x/live RT", b"\x16\x03\x01"]
    async with RtspServer("127.0.0.1", 0, source) as server, Viewer(server.port) as viewer:
        source.publish(keyframe=True)
        await viewer.play()
        for number in range(1, 60):
            async with Viewer(server.port) as other:
                other.writer.write(chaos.choice(junk))
                await other.writer.drain()
            source.publish()
            assert await viewer.frame() == number - 1
        assert await viewer.frame() == 59


async def test_clients_beyond_the_limit_are_told_that_the_service_is_unavailable() -> None:
    source = ManualSource()
    async with (
        RtspServer("127.0.0.1", 0, source, limits=ServerLimits(clients=1)) as server,
        Viewer(server.port) as first,
    ):
        await first.request("OPTIONS", "live")
        async with Viewer(server.port) as second:
            assert (await second.answer()).status == 503
            assert await second.at_end()
        assert (await first.request("OPTIONS", "live")).status == 200


async def test_a_port_in_use_is_a_conflict_in_one_line() -> None:
    async with RtspServer("127.0.0.1", 0, ManualSource()) as server:
        with pytest.raises(VmsError, match=f"port {server.port} on 127.0.0.1 is in use") as caught:
            async with RtspServer("127.0.0.1", server.port, ManualSource()):
                pass
        assert caught.value.kind is ErrorKind.CONFLICT


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("127.0.0.1", 70_000), ("no.such.host.invalid", 0)])
async def test_an_address_that_cannot_be_had_is_invalid(host: str, port: int) -> None:
    with pytest.raises(VmsError) as caught:
        async with RtspServer(host, port, ManualSource()):
            pass
    assert caught.value.kind is ErrorKind.INVALID
    assert "\n" not in caught.value.message


async def test_credentials_are_asked_for_by_digest() -> None:
    credentials = Credentials("admin", "pass")
    async with (
        RtspServer("127.0.0.1", 0, ManualSource(), credentials=credentials) as server,
        Viewer(server.port) as viewer,
        Viewer(server.port) as other,
    ):
        answer = await viewer.request("DESCRIBE", "live")
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Digest ")
        nonce = answer.headers["www-authenticate"]
        assert (await other.request("PLAY", "x")).headers["www-authenticate"] not in {"", nonce}


async def test_a_source_that_fails_ends_that_session_alone(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(ManualSource):
        async def describe(self, path: str) -> StreamDescription | None:
            if path == "broken":
                raise RuntimeError("the source is out of order")
            return await super().describe(path)

    source = Broken()
    async with (
        RtspServer("127.0.0.1", 0, source) as server,
        Viewer(server.port) as viewer,
        Viewer(server.port) as other,
    ):
        source.publish(keyframe=True)
        await viewer.play()
        other.writer.write(b"DESCRIBE rtsp://h/broken RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        assert await other.at_end()
        assert await viewer.frame() == 0
    assert "out of order" in caplog.text


def _open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_nothing_is_left_of_300_viewers_however_they_leave() -> None:
    source = ManualSource()
    ended: list[ViewerStats] = []
    async with RtspServer("127.0.0.1", 0, source, on_session_end=ended.append) as server:
        source.publish(keyframe=True, size=50_000)

        async def visit(number: int) -> None:
            async with Viewer(server.port) as viewer:
                await viewer.play()
                await viewer.frame()
                if number % 3 == 0:
                    await viewer.request("TEARDOWN", "live")
                elif number % 3 == 1:
                    viewer.writer.transport.abort()

        for number in range(20):
            await visit(number)
        gc.collect()
        tasks, descriptors, memory = len(asyncio.all_tasks()), _open_descriptors(), _resident_bytes()
        for number in range(20, 300):
            await visit(number)
        while server.connections:  # noqa: ASYNC110 - the server has no event for its last client, and needs none
            await asyncio.sleep(0)
        gc.collect()
        assert len(asyncio.all_tasks()) <= tasks
        assert _open_descriptors() <= descriptors + 1
        assert _resident_bytes() < memory + 8_000_000
        assert not source.feed.watched
        assert len(ended) == 300
        assert {(s.frames, s.first_index) for s in ended} == {(1, 0)}


async def test_leaving_the_server_ends_its_sessions_at_once() -> None:
    source = ManualSource()
    async with RtspServer("127.0.0.1", 0, source) as server:
        viewer = Viewer(server.port)
        await viewer.__aenter__()
        source.publish(keyframe=True)
        await viewer.play()
    assert await viewer.at_end()
    assert not source.feed.watched
    await viewer.__aexit__(None, None, None)
    async with RtspServer("127.0.0.1", server.port, source) as again:
        assert again.port == server.port
