"""The tick reader: calls back what is readable, keeps faults apart, leaves nothing behind."""

import asyncio
import functools
import os
import socket
from collections.abc import Iterator

import pytest

from vms.media.rtsp.tick_reader import TickReader


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def nothing() -> None:
    """Leave the reading to the second half."""


def unexpected(error: Exception) -> None:
    raise AssertionError(error)


async def test_what_is_readable_is_called_back_until_it_is_removed(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    reader = TickReader(0.001)
    got: asyncio.Queue[bytes] = asyncio.Queue()
    reader.add(ours, nothing, lambda: got.put_nowait(ours.recv(100)), unexpected)
    assert len(reader) == 1
    theirs.send(b"one")
    assert await asyncio.wait_for(got.get(), 5) == b"one"
    theirs.send(b"two")
    assert await asyncio.wait_for(got.get(), 5) == b"two"
    reader.remove(ours)
    reader.remove(ours)
    assert len(reader) == 0


async def test_a_fault_goes_to_its_owner_and_stops_nobody_else(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    other_ours, other_theirs = socket.socketpair()
    reader = TickReader(0.001)
    loop = asyncio.get_running_loop()
    failure: asyncio.Future[Exception] = loop.create_future()
    fine: asyncio.Future[bytes] = loop.create_future()

    def broken() -> None:
        raise KeyError("a bug")

    reader.add(ours, nothing, broken, failure.set_result)
    reader.add(other_ours, nothing, lambda: fine.set_result(other_ours.recv(10)), unexpected)
    theirs.send(b"x")
    assert isinstance(await asyncio.wait_for(failure, 5), KeyError)
    assert len(reader) == 1
    other_theirs.send(b"y")
    assert await asyncio.wait_for(fine, 5) == b"y"
    reader.remove(other_ours)
    other_ours.close()
    other_theirs.close()


async def test_without_sockets_there_is_no_timer_and_no_descriptor(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only
    reader = TickReader(0.001)
    for _ in range(3):
        reader.add(ours, nothing, nothing, unexpected)
        assert reader._timer is not None
        reader.remove(ours)
        assert reader._timer is None
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def test_a_socket_may_be_removed_and_added_in_the_middle_of_a_tick(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    reader = TickReader(0.001)
    done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def first() -> None:
        reader.remove(ours)
        reader.add(ours, nothing, second, unexpected)

    def second() -> None:
        if not done.done():
            done.set_result(ours.recv(10))

    reader.add(ours, nothing, first, unexpected)
    theirs.send(b"x")
    assert await asyncio.wait_for(done, 5) == b"x"
    reader.remove(ours)
    assert reader._timer is None


async def test_every_socket_is_read_before_anything_is_taken_apart() -> None:
    pairs = [socket.socketpair() for _ in range(3)]
    reader = TickReader(0.001)
    order: list[str] = []
    done = asyncio.get_running_loop().create_future()

    def take(number: int) -> None:
        order.append(f"take {number}")
        if number == 2:
            done.set_result(None)

    for number, (ours, theirs) in enumerate(pairs):
        theirs.send(b"x")
        reader.add(ours, functools.partial(order.append, f"read {number}"), functools.partial(take, number), unexpected)
    await asyncio.wait_for(done, 5)
    assert [step.split()[0] for step in order] == ["read"] * 3 + ["take"] * 3
    for ours, theirs in pairs:
        reader.remove(ours)
        ours.close()
        theirs.close()
