"""The writer on a real socket pair: order, bounds, drops to the next keyframe."""

import asyncio
import socket
from collections.abc import Iterator

import pytest
from tests.support.rtsp_viewer import ManualSource

from vms.common.clock import ManualClock
from vms.media.rtsp.frame_writer import FrameWriter


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        yield ours, theirs


def _writer(sock: socket.socket, queue_bytes: int = 100_000) -> FrameWriter:
    return FrameWriter(sock, asyncio.get_running_loop(), ManualClock(), queue_bytes=queue_bytes)


async def _read_all(sock: socket.socket, size: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < size:
        part = await loop.sock_recv(sock, 65_536)
        assert part
        data += part
    return data


async def test_frames_and_messages_arrive_whole_and_in_order_though_the_client_is_slow(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    writer, source = _writer(ours, 1_000_000), ManualSource()
    sent = b""
    for number in range(30):
        frame = source.make(keyframe=number % 10 == 0, size=8000)
        assert writer.frame(frame)
        writer.message(b"reply %d " % number)
        sent += frame.blob + b"reply %d " % number
    assert writer.queued_bytes > 100_000
    assert await _read_all(theirs, len(sent)) == sent
    assert (writer.queued_bytes, writer.stalled_since) == (0, None)
    assert (writer.frames, writer.frames_dropped, writer.first_index) == (30, 0, 0)
    writer.close()


async def test_nothing_is_sent_before_the_first_keyframe_and_that_is_no_drop(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    writer, source = _writer(ours), ManualSource()
    assert not writer.frame(source.make())
    key = source.make(keyframe=True)
    assert writer.frame(key)
    assert await _read_all(theirs, len(key.blob)) == key.blob
    assert (writer.first_index, writer.frames, writer.frames_dropped) == (1, 1, 0)


async def test_a_full_queue_drops_up_to_the_next_keyframe_that_fits(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    writer, source = _writer(ours, queue_bytes=50_000), ManualSource()
    kept = b""
    frames = [source.make(keyframe=number % 5 == 0, size=5000) for number in range(60)]
    for frame in frames[:40]:
        if writer.frame(frame):
            kept += frame.blob
    assert writer.queued_bytes <= 50_000
    assert writer.waits_for_keyframe
    dropped = writer.frames_dropped
    assert dropped > 10
    assert await _read_all(theirs, len(kept)) == kept
    resumed = [frame.index for frame in frames[41:52] if writer.frame(frame)]
    assert resumed[0] == 45
    assert writer.frames_dropped == dropped + 4
    writer.close()


async def test_a_client_that_floods_without_reading_is_shut_out(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    writer = _writer(ours, queue_bytes=10_000)
    for _ in range(100):
        writer.message(bytes(8000))
    assert writer.queued_bytes == 0
    assert await asyncio.get_running_loop().sock_recv(ours, 10) == b""
    assert not writer.frame(ManualSource().make(keyframe=True))
    theirs.close()


async def test_finishing_sends_the_rest_before_the_end(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    writer, source = _writer(ours, 1_000_000), ManualSource()
    sent = b""
    for number in range(20):
        frame = source.make(keyframe=number == 0, size=8000)
        writer.frame(frame)
        sent += frame.blob
    writer.finish()
    assert not writer.frame(source.make(keyframe=True))
    assert await _read_all(theirs, len(sent)) == sent
    assert await asyncio.get_running_loop().sock_recv(theirs, 10) == b""


async def test_a_client_that_left_ends_the_connection_quietly(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    writer, source = _writer(ours), ManualSource()
    theirs.close()
    writer.frame(source.make(keyframe=True))
    assert not writer.frame(source.make())
    assert await asyncio.get_running_loop().sock_recv(ours, 10) == b""


async def test_how_long_a_client_has_taken_nothing_is_known(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    clock = ManualClock()
    writer = FrameWriter(ours, asyncio.get_running_loop(), clock, queue_bytes=1_000_000)
    source = ManualSource()
    clock.advance(5)
    for number in range(20):
        writer.frame(source.make(keyframe=number == 0, size=8000))
    clock.advance(3)
    writer.frame(source.make())
    assert writer.stalled_since == 5
    await _read_all(theirs, 60_000)
    assert writer.stalled_since in {8, None}
    writer.close()
