"""The bus against a real nats-server that stops, dies and comes back."""

import asyncio
import contextlib
import gc
import itertools
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.nats import NatsServer, connected_bus, flushed, until

from vms.bus.client import Bus
from vms.bus.consumer import Delivery
from vms.bus.jetstream import NANOSECONDS, api
from vms.bus.kv import KvOperation
from vms.bus.leases import LeaseChange, LeaseKeeper
from vms.bus.outbox import Outbox
from vms.bus.subscription import BusMessage
from vms.common.clock import SystemClock
from vms.common.errors import ErrorKind, VmsError
from vms.common.types import CameraId
from vms.proto import subjects
from vms.proto.messages import AnnouncementKind

CYCLES = 500
CAMERAS = [CameraId(f"cam_{number}") for number in range(4)]


def file_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the directory handle itself is counted, always alike


async def test_after_an_outage_of_seconds_requests_subscriptions_and_publishing_work_again(tmp_path: Path) -> None:
    got: list[bytes] = []

    async def answer(message: BusMessage) -> bytes:
        return message.payload.upper()

    async def receive(message: BusMessage) -> None:
        got.append(message.payload)

    async with NatsServer(tmp_path) as server, connected_bus(server, "a") as one, connected_bus(server, "b") as two:
        await two.serve("vms.command.t.upper", answer)
        await two.subscribe("vms.media.c.au", receive)
        await flushed(two)
        assert await one.request("vms.command.t.upper", b"x") == b"X"

        await server.stop()
        await until(lambda: not one.connected and not two.connected)
        assert one.publish("vms.media.c.au", b"lost") is False
        with pytest.raises(VmsError) as caught:
            await one.request("vms.command.t.upper", b"x")
        assert caught.value.kind is ErrorKind.UNAVAILABLE
        # Long enough for the back-off to reach its limit of two seconds.
        await until(lambda: one.stats.connect_failures >= 7)
        await server.start()

        await one.wait_connected(3)
        await two.wait_connected(3)
        assert await one.request("vms.command.t.upper", b"y") == b"Y"
        assert one.publish("vms.media.c.au", b"found")
        await until(lambda: got == [b"found"])


async def test_a_request_to_nobody_fails_at_once(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        async with asyncio.timeout(1):
            with pytest.raises(VmsError, match="is that service running") as caught:
                await bus.request("vms.command.nobody.x", b"", timeout_s=30)
        assert caught.value.kind is ErrorKind.UNAVAILABLE


async def test_announcements_survive_restarts_of_server_and_consumer_without_loss_or_reorder(tmp_path: Path) -> None:
    count = 150
    seen: dict[str, list[int]] = defaultdict(list)
    total = 0

    async def handler(delivery: Delivery) -> None:
        nonlocal total
        total += 1
        seen[delivery.subject].append(int(delivery.payload))
        await asyncio.sleep(0.002)  # work, so that the interruptions below come in the middle of it

    async with NatsServer(tmp_path) as server, connected_bus(server, "in") as source, connected_bus(server) as sink:
        outbox = Outbox(source)

        def consume() -> asyncio.Task[None]:
            return asyncio.create_task(
                sink.consume(subjects.RECORDING_STREAM, "catalogue", subjects.RECORDING_ALL, handler, ack_wait_s=1)
            )

        sending, consuming = asyncio.create_task(outbox.run()), consume()
        for number in range(count):
            for camera in CAMERAS:
                subject = subjects.recording(camera, AnnouncementKind.PROGRESS)
                outbox.put(subject, b"%d" % number, f"{camera}-{number}")
        await until(lambda: total > 50)
        server.kill()
        await until(lambda: total > 150)
        consuming.cancel()
        await asyncio.gather(consuming, return_exceptions=True)
        consuming = consume()
        await until(lambda: total > 250)
        await server.stop()
        await server.start()
        await until(lambda: all(numbers[-1] == count - 1 for numbers in seen.values()) and len(seen) == 4, 20)
        for task in (sending, consuming):
            task.cancel()
        assert outbox.waiting == 0

    for numbers in seen.values():
        assert set(numbers) == set(range(count))
        assert numbers[0] == 0
        # In order, at least once: a killed server forgets its last acknowledgements and goes back a stretch, which it
        # then repeats in order. It never skips ahead.
        assert all(after == before + 1 or after <= before for before, after in itertools.pairwise(numbers))
        assert len(numbers) < count + 50


async def test_an_outbox_keeps_what_matters_through_an_outage(tmp_path: Path) -> None:
    got: list[bytes] = []

    async def handler(delivery: Delivery) -> None:
        got.append(delivery.payload)

    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        outbox = Outbox(bus, capacity=100)
        task = asyncio.create_task(outbox.run())
        await server.stop()
        await until(lambda: not bus.connected)
        for number in range(400):
            droppable = number % 5 != 0
            kind = AnnouncementKind.PROGRESS if droppable else AnnouncementKind.CLOSED
            payload = b"%s %d" % (kind.encode(), number)
            outbox.put(subjects.recording(CAMERAS[0], kind), payload, str(number), droppable=droppable)
        await until(lambda: bus.stats.connect_failures >= 4)
        waiting = outbox.waiting
        assert waiting <= 101
        await server.start()
        await until(lambda: outbox.waiting == 0)
        consuming = asyncio.create_task(bus.consume(subjects.RECORDING_STREAM, "t", subjects.RECORDING_ALL, handler))
        await until(lambda: len(got) == waiting)
        for running in (task, consuming):
            running.cancel()
    assert outbox.dropped == 400 - waiting
    numbers = [int(payload.split()[1]) for payload in got]
    assert numbers == sorted(numbers)
    # All 80 that matter are there; of the others the newest.
    assert [payload for payload in got if payload.startswith(b"closed")] == [b"closed %d" % n for n in range(0, 400, 5)]


async def test_a_watch_tells_after_a_restart_what_changed_meanwhile(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        kv = bus.kv(subjects.CAMERAS_BUCKET)
        for key in ("a", "b", "c"):
            await kv.put(key, b"1")
        async with contextlib.aclosing(kv.watch()) as changes:
            first = [await anext(changes) for _ in range(4)]
            assert [change.key for change in first] == ["a", "b", "c", ""]
            await server.stop()
            await until(lambda: not bus.connected)
            await _change_while_away(server)
            async with asyncio.timeout(10):
                again = [await anext(changes) for _ in range(4)]
            assert [(change.operation, change.key, change.value) for change in again] == [
                (KvOperation.PUT, "a", b"1"),
                (KvOperation.DELETE, "b", b""),
                (KvOperation.PUT, "c", b"2"),
                (KvOperation.SNAPSHOT_END, "", b""),
            ]
            await kv.put("d", b"1")
            async with asyncio.timeout(10):
                assert (await anext(changes)).key == "d"


async def _change_while_away(server: NatsServer) -> None:
    """Change the bucket before the bus under test is back: it finds the server when the endpoint file is there."""
    await server.start()
    settings = server.embedded.settings
    endpoint = server.data_dir / "nats" / "endpoint.json"
    hidden = endpoint.rename(endpoint.with_suffix(".hidden"))
    async with Bus(settings, "writer") as writer:
        await writer.wait_connected(5)
        kv = writer.kv(subjects.CAMERAS_BUCKET)
        await kv.delete("b")
        await kv.put("c", b"2")
    hidden.rename(endpoint)


async def test_leases_of_a_worker_that_stops_go_to_the_other_and_an_outage_moves_none(tmp_path: Path) -> None:
    changes: dict[str, list[LeaseChange]] = {"one": [], "two": []}
    async with NatsServer(tmp_path) as server, connected_bus(server, "1") as one, connected_bus(server, "2") as two:
        await _shorten_leases(one)
        keepers, tasks = {}, {}
        for name, bus in (("one", one), ("two", two)):
            keepers[name] = LeaseKeeper(
                bus.kv(subjects.LEASES_BUCKET),
                name,
                clock=SystemClock(),
                on_change=changes[name].append,
                ttl_s=1.5,
                renew_s=0.3,
            )
            keepers[name].want(CAMERAS)
            tasks[name] = asyncio.create_task(keepers[name].run())
            await until(lambda: keepers["one"].held == set(CAMERAS))
        assert keepers["two"].held == frozenset()

        # Long enough for every lease to expire, were it not held open by its keeper.
        await server.stop()
        failures = one.stats.connect_failures
        await until(lambda: one.stats.connect_failures >= failures + 6)
        assert keepers["one"].held == set(CAMERAS)
        await server.start()
        await one.wait_connected(5)
        await two.wait_connected(5)
        await _shorten_leases(one)  # connecting has put the declared age back in force
        await until(lambda: keepers["one"].held.isdisjoint(keepers["two"].held))
        assert keepers["one"].held | keepers["two"].held == set(CAMERAS)

        # A crash: no release.
        tasks["one"].cancel()
        await until(lambda: keepers["two"].held == set(CAMERAS), 5)
        tasks["two"].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        await keepers["two"].release_all()
        assert await two.kv(subjects.LEASES_BUCKET).entries() == {}


async def _shorten_leases(bus: Bus) -> None:
    """Let leases expire after 1.5 s, so that the test does not take 10."""
    session = bus._link.require()
    info = await api(session, "STREAM.INFO.KV_vms_leases", {})
    ages = {"max_age": 3 * NANOSECONDS // 2, "duplicate_window": 3 * NANOSECONDS // 2}
    await api(session, "STREAM.UPDATE.KV_vms_leases", {**info["config"], **ages})


async def test_a_slow_subscriber_is_bounded_and_delays_nobody_else(tmp_path: Path) -> None:
    release = asyncio.Event()
    slow_got: list[int] = []
    fast_got: list[int] = []

    async def slow(message: BusMessage) -> None:
        await release.wait()
        slow_got.append(int(message.payload[:6]))

    async def fast(message: BusMessage) -> None:
        fast_got.append(int(message.payload[:6]))

    async with NatsServer(tmp_path) as server, connected_bus(server, "r") as reader, connected_bus(server) as writer:
        registration = await reader.subscribe(
            "vms.media.c.au", slow, max_pending_messages=1000, max_pending_bytes=1 << 20
        )
        await reader.subscribe("vms.media.c.au", fast, max_pending_messages=10_000, max_pending_bytes=1 << 30)
        await flushed(reader)
        for number in range(2000):
            while not writer.publish("vms.media.c.au", b"%06d" % number + bytes(10_000)):
                await flushed(writer)
        await until(lambda: len(fast_got) == 2000)
        assert fast_got == list(range(2000))
        # One in the handler's hands, and a megabyte of the newest waiting.
        release.set()
        await until(lambda: bool(slow_got) and slow_got[-1] == 1999)
        assert len(slow_got) == 2000 - registration.dropped
        assert len(slow_got) <= 106
        assert slow_got == [0, *range(2000 - len(slow_got) + 1, 2000)]


async def test_a_group_of_pictures_is_streamed_whole(tmp_path: Path) -> None:
    frames = [b"%03d" % number + os.urandom(30_000) for number in range(200)]

    async def gop(_: BusMessage) -> AsyncIterator[bytes]:
        for frame in frames:
            yield frame

    async with NatsServer(tmp_path) as server, connected_bus(server, "i") as ingest, connected_bus(server) as viewer:
        await ingest.serve_many("vms.media.c.gop", gop)
        await flushed(ingest)
        assert [frame async for frame in viewer.request_many("vms.media.c.gop", b"")] == frames


async def test_connecting_and_disconnecting_leaves_no_task_and_no_file_descriptor(tmp_path: Path) -> None:
    async def answer(message: BusMessage) -> bytes:
        return message.payload

    async def receive(_: BusMessage) -> None:
        return

    async def cycle(server: NatsServer) -> None:
        async with connected_bus(server) as bus:
            await bus.serve("vms.command.t.x", answer)
            await bus.subscribe("vms.media.c.au", receive)
            consuming = asyncio.create_task(bus.consume(subjects.EVENTS_STREAM, "t", subjects.EVENTS_ALL, _ignore))
            assert await bus.request("vms.command.t.x", b"x") == b"x"
            consuming.cancel()
            await asyncio.gather(consuming, return_exceptions=True)

    async with NatsServer(tmp_path) as server:
        await cycle(server)
        gc.collect()
        tasks, descriptors = len(asyncio.all_tasks()), file_descriptors()
        for _ in range(CYCLES):
            await cycle(server)
        await until(lambda: len(asyncio.all_tasks()) <= tasks, 2)
        gc.collect()
        assert file_descriptors() <= descriptors


async def _ignore(_: Delivery) -> None:
    return
