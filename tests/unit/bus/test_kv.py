import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from tests.support.nats import NatsServer, connected_bus

from vms.bus.jetstream import api
from vms.bus.kv import KvBucket, KvChange, KvOperation
from vms.common.errors import ErrorKind, VmsError
from vms.proto import subjects

END = (KvOperation.SNAPSHOT_END, "", b"")


async def take(changes: AsyncGenerator[KvChange], count: int) -> list[tuple[KvOperation, str, bytes]]:
    taken = []
    async with asyncio.timeout(10):
        for _ in range(count):
            change = await anext(changes)
            taken.append((change.operation, change.key, change.value))
    return taken


async def test_values_have_revisions_that_guard_updates(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        kv = bus.kv(subjects.CAMERAS_BUCKET)
        assert await kv.get("cam_1") is None
        first = await kv.create("cam_1", b"1")
        with pytest.raises(VmsError) as caught:
            await kv.create("cam_1", b"2")
        assert caught.value.kind is ErrorKind.CONFLICT
        second = await kv.update("cam_1", b"2", first)
        for refused in (kv.update("cam_1", b"3", first), kv.delete("cam_1", revision=first)):
            with pytest.raises(VmsError) as caught:
                await refused
            assert caught.value.kind is ErrorKind.CONFLICT
        entry = await kv.get("cam_1")
        assert entry is not None
        assert (entry.value, entry.revision) == (b"2", second)
        await kv.delete("cam_1", revision=second)
        assert await kv.get("cam_1") is None
        assert await kv.create("cam_1", b"4") > second


async def test_keys_and_entries_leave_out_what_is_deleted(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        kv = bus.kv(subjects.CAMERAS_BUCKET)
        assert await kv.keys() == []
        for key in ("b", "a", "c"):
            await kv.put(key, key.encode())
        await kv.delete("c")
        await kv.delete("never-there")
        assert await kv.keys() == ["a", "b"]
        assert {key: entry.value for key, entry in (await kv.entries()).items()} == {"a": b"a", "b": b"b"}


@pytest.mark.parametrize("key", ["", "a.b", "*", ">", "a b"])
async def test_a_key_that_is_none_is_refused(tmp_path: Path, key: str) -> None:
    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        kv = bus.kv(subjects.CAMERAS_BUCKET)
        for refused in (kv.get(key), kv.put(key, b""), kv.delete(key)):
            with pytest.raises(VmsError) as caught:
                await refused
            assert caught.value.kind is ErrorKind.INVALID


async def test_a_watch_reports_what_is_there_then_its_end_then_changes(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        kv = bus.kv(subjects.CAMERAS_BUCKET)
        async with contextlib.aclosing(kv.watch()) as empty:
            assert await take(empty, 1) == [END]
        await kv.put("a", b"1")
        async with contextlib.aclosing(kv.watch()) as changes:
            assert await take(changes, 2) == [(KvOperation.PUT, "a", b"1"), END]
            await kv.put("b", b"2")
            await kv.delete("a")
            await kv.put("b", b"3")
            assert await take(changes, 3) == [
                (KvOperation.PUT, "b", b"2"),
                (KvOperation.DELETE, "a", b""),
                (KvOperation.PUT, "b", b"3"),
            ]


async def test_a_watch_that_comes_later_hears_what_was_deleted_with_its_revision(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        kv = bus.kv(subjects.CAMERAS_BUCKET)
        await kv.put("a", b"1")
        await kv.delete("a")
        async with contextlib.aclosing(kv.watch()) as changes:
            first = await anext(changes)
            assert (first.operation, first.key) == (KvOperation.DELETE, "a")
            assert first.revision > 0
            assert await take(changes, 1) == [END]


async def test_a_bucket_that_is_deleted_and_made_again_is_reported_as_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vms.bus.kv._HEARTBEAT_S", 0.1)
    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        kv = bus.kv(subjects.CAMERAS_BUCKET)
        await kv.put("a", b"1")
        await kv.put("b", b"1")
        async with contextlib.aclosing(kv.watch()) as changes:
            await take(changes, 3)
            session = bus._link.require()
            await api(session, "STREAM.DELETE.KV_vms_cameras", {})
            await bus._link.ensure_streams(session)
            await kv.put("b", b"2")
            assert await take(changes, 3) == [(KvOperation.PUT, "b", b"2"), (KvOperation.DELETE, "a", b""), END]


async def test_an_expired_key_is_reported_as_deleted_and_can_be_created_again(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        session = bus._link.require()
        info = await api(session, "STREAM.INFO.KV_vms_leases", {})
        second = 1_000_000_000
        short = {
            **info["config"],
            "max_age": second,
            "duplicate_window": second,
            "subject_delete_marker_ttl": 5 * second,
        }
        await api(session, "STREAM.UPDATE.KV_vms_leases", short)
        kv = KvBucket(bus._link, subjects.LEASES_BUCKET)
        async with contextlib.aclosing(kv.watch()) as changes:
            await take(changes, 1)
            await kv.create("cam_1", b"one")
            assert await take(changes, 2) == [(KvOperation.PUT, "cam_1", b"one"), (KvOperation.DELETE, "cam_1", b"")]
        assert await kv.entries() == {}
        assert await kv.create("cam_1", b"two") > 0


async def test_without_a_bus_every_call_says_so_at_once(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server, connected_bus(server) as bus:
        kv = bus.kv(subjects.CAMERAS_BUCKET)
    with pytest.raises(VmsError) as caught:
        await kv.get("a")
    assert caught.value.kind is ErrorKind.UNAVAILABLE
