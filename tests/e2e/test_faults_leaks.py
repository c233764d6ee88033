"""A camera that connects and drops again and again must cost neither descriptors nor tasks, threads or memory."""

import asyncio
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.faults import FULL, figure, open_files, rss_mb
from tests.support.ingest import FakeBus, FakeOutbox, camera
from tests.support.product import Product
from tests.support.rtsp import FakeCamera, media_bytes

from vms.common.clock import SystemClock
from vms.common.stream import AccessUnit
from vms.format.volume import VolumeWriter
from vms.ingest.config import IngestSettings
from vms.ingest.sessions import SessionFactory, Volume
from vms.media.rtsp.tick_reader import TickReader

_WARM_UP = 500 if FULL else 50  # connections: only then allocator and announcements under way have their size
_RECONNECTS = 300
_RETRY_S = 0.02
_GROWTH_MB = 4.0 if FULL else 8.0


@pytest.mark.timeout(120)
async def test_300_reconnects_of_a_camera_leave_no_descriptor_thread_or_memory_in_ingest(tmp_path: Path) -> None:
    settings = {f"VMS_INGEST__RETRY_{name}_S": _RETRY_S for name in ("FIRST", "LIMIT", "RECENT_LIMIT")}
    product = Product(tmp_path, settings=settings)
    async with FakeCamera(media=[media_bytes(5)], end_with_media=True) as source:
        await asyncio.to_thread(product.__enter__)
        try:
            camera_id = await asyncio.to_thread(product.add_camera, source.url)
            ingest = product.pids()["ingest"]
            await _connections(source, _WARM_UP)
            before = _costs(ingest)
            await _connections(source, _WARM_UP + _RECONNECTS)
            after = _costs(ingest)
            status = await asyncio.to_thread(product.status, camera_id)
        finally:
            await asyncio.to_thread(product.__exit__, None, None, None)
    figure(f"{_RECONNECTS} reconnects: ingest {before} before, {after} after (files, threads, MB)")
    assert status["reconnects_total"] > 0
    # One connection may be open at the moment of looking, with a socket of its own.
    assert after[0] <= before[0] + 1
    assert after[1] <= before[1]
    assert after[2] - before[2] < _GROWTH_MB


async def test_300_reconnects_leave_no_task_timer_or_frame_behind(tmp_path: Path) -> None:
    clock = SystemClock()
    volume = Volume("main", tmp_path, VolumeWriter("main", 64 << 20, clock))
    volume.writer.start()
    factory = SessionFactory(
        settings=IngestSettings(retry_first_s=_RETRY_S, retry_limit_s=_RETRY_S, retry_recent_limit_s=_RETRY_S),
        bus=FakeBus().as_bus(),
        outbox=FakeOutbox().as_outbox(),
        volumes={"main": volume},
        reader=TickReader(),
        clock=clock,
        worker="worker",
    )
    async with FakeCamera(media=[media_bytes(5)], end_with_media=True) as source:
        tasks_at_first = len(asyncio.all_tasks())
        running = await factory.make(camera(url=source.url), lambda _: None)
        task = asyncio.create_task(running.run())
        await _connections(source, _WARM_UP)
        before = _objects(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are all that is wanted
        await _connections(source, _WARM_UP + _RECONNECTS)
        after = _objects(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await source.until(lambda: source.open_connections == 0)
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == tasks_at_first
    await asyncio.to_thread(volume.writer.stop)
    figure(f"{_RECONNECTS} reconnects: {before} before, {after} after ((tasks, timers, frames), files)")
    assert running.session.counters.reconnects >= _RECONNECTS
    for name, was, now, slack in zip(("tasks", "timers", "frames"), before[0], after[0], (4, 4, 60), strict=True):
        assert now <= was + slack, name
    assert after[1] <= before[1] + 4


async def _connections(source: FakeCamera, count: int) -> None:
    """Return when the camera has been connected to so often."""
    async with asyncio.timeout(100):
        while source.connections < count:
            await source.until(_more_than(source, source.connections))


def _more_than(source: FakeCamera, connections: int) -> Callable[[], bool]:
    return lambda: source.connections > connections


def _costs(pid: int) -> tuple[int, int, float]:
    """Open files, threads and resident megabytes of a process."""
    threads = len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - names are all that is wanted
    return open_files(pid), threads, round(rss_mb(pid), 1)


def _objects() -> tuple[int, int, int]:
    """Tasks and threads, timers, and frames that are alive in this process."""
    gc.collect()
    found = gc.get_objects()
    # Cancelled timers stay in the loop's heap until they would be due: seconds, and never more than half of it.
    timers = sum(isinstance(thing, asyncio.TimerHandle) and not thing.cancelled() for thing in found)
    frames = sum(isinstance(thing, AccessUnit) for thing in found)
    return len(asyncio.all_tasks()) + threading.active_count(), timers, frames
