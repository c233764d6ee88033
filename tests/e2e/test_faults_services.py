"""Bus, catalogue database, storage and API away for a while: recordings have no gap, and the catalogue catches up."""

import os
import shutil
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
from tests.support.cameras import CARS, Simulator, asset
from tests.support.faults import FULL, assert_whole, catalogue_mismatch, figure, now_us, rss_mb, spread, wait_catalogue
from tests.support.frames import breaks, demuxed_digests, last_end_us, recorded_frames
from tests.support.product import Product, wait_for

from vms.bus.server_files import find_binary

_CAMERAS = 4
_AWAY_S = 20 if FULL else 3
_ROTATION_S = 7 if FULL else 2  # so that files are opened and closed while nobody takes note
_GROWTH_MB = 12.0  # more would be a queue that grows
_ASK_S = 0.5

Fault = Callable[[Product], AbstractContextManager[None]]


@pytest.mark.timeout(900)
def test_recordings_have_no_gap_while_bus_database_storage_or_api_are_away(tmp_path: Path) -> None:
    clip = asset(CARS)
    binary = tmp_path / "nats-server"
    shutil.copy2(find_binary(None), binary)  # one that can be taken away
    settings = {"VMS_INGEST__ROTATION_S": _ROTATION_S, "VMS_BUS__BINARY": binary}
    with Simulator(clip, cameras=_CAMERAS) as cameras, Product(tmp_path, settings=settings) as product:
        ids = [
            product.add_camera(cameras.url(n), f"Camera {n}", container="mkv" if n % 2 else "mp4")
            for n in range(_CAMERAS)
        ]
        for camera_id in ids:
            product.wait_state(camera_id, "online")
        ingest = product.pids()["ingest"]
        for fault in (_bus_paused, _bus_missing, _database_locked, _storage_killed, _api_killed):
            _live_through(fault, product, ids)
        assert product.pids()["ingest"] == ingest
        until_us = now_us()
    source = demuxed_digests(clip)
    for camera_id in ids:
        frames = recorded_frames(product.media_files(camera_id))
        assert breaks(frames, source) == [], camera_id
        assert frames[-1].capture_us >= until_us - 500_000, "the last frames before the end are there"
        figure(f"{camera_id}: {len(frames)} frames in {len(product.media_files(camera_id))} files, no break")
    figure(f"{assert_whole(product, ids)} files whole")


def _live_through(fault: Fault, product: Product, ids: list[str]) -> None:
    ingest = product.pids()["ingest"]
    before_mb = rss_mb(ingest)
    with fault(product):
        replies = _ask_while_away(product, ids[0])
        for camera_id in ids:
            behind_s = (now_us() - last_end_us(product.media_files(camera_id)[-1])) / 1e6
            assert behind_s < 3, f"{camera_id} is not recorded while {fault.__name__}"
    caught_up_s = wait_catalogue(product, ids)
    for camera_id in ids:
        product.wait_state(camera_id, "online")
    grown_mb = rss_mb(ingest) - before_mb
    said = ", ".join(f"{count}x {what}" for what, count in replies.items())
    figure(
        f"{fault.__name__[1:]} for {_AWAY_S} s: catalogue equal {caught_up_s:.1f} s later, ingest {grown_mb:+.1f} MB"
    )
    figure(f"    the API said: {said}")
    assert grown_mb < _GROWTH_MB


def _ask_while_away(product: Product, camera_id: str) -> Counter[str]:
    """Ask the API for cameras and recordings until the time is over; whatever is no success must be a clear problem."""
    said: Counter[str] = Counter()
    end = time.monotonic() + _AWAY_S
    while time.monotonic() < end:
        for path in ("/api/v1/cameras", f"/api/v1/recordings/{camera_id}", "/health"):
            said[f"GET {path.replace(camera_id, 'ID')} {_reply(product, path)}"] += 1
        said[f"PATCH camera {_reply(product, f'/api/v1/cameras/{camera_id}', {'name': 'Door'})}"] += 1
        time.sleep(min(_ASK_S, max(0.0, end - time.monotonic())))  # how often is asked, not what is waited for
    return said


def _reply(product: Product, path: str, change: dict[str, str] | None = None) -> str:
    method = "GET" if change is None else "PATCH"
    try:
        reply = httpx.request(method, f"{product.api_url}{path}", json=change, timeout=15, trust_env=False)
    except httpx.TransportError:
        return "no answer"
    if path == "/health":
        assert reply.status_code in {200, 503}
    elif not reply.is_success:
        assert reply.status_code in {503, 504}, reply.text
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json()["detail"]
        assert "Traceback" not in reply.text
        return f"{reply.status_code} ({reply.json()['detail']})"
    return str(reply.status_code)


@contextmanager
def _bus_paused(product: Product) -> Iterator[None]:
    """The server holds its connections and says nothing."""
    pid = product.kill("nats-server", signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def _bus_missing(product: Product) -> Iterator[None]:
    """The server is killed and cannot be started again."""
    binary = product.directory / "nats-server"
    hidden = binary.with_suffix(".hidden")
    binary.rename(hidden)
    try:
        product.kill("nats-server")
        yield
    finally:
        hidden.rename(binary)
    wait_for(lambda: "nats-server" in product.pids(), 15, "the bus is started again")


@contextmanager
def _database_locked(product: Product) -> Iterator[None]:
    """Another program holds the catalogue locked: with the write-ahead log, readers go on and writers wait."""
    connection = sqlite3.connect(product.data_dir / "vms.db", isolation_level=None, timeout=10)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@contextmanager
def _storage_killed(product: Product) -> Iterator[None]:
    with _kept_down(product, "storage"):
        yield


@contextmanager
def _api_killed(product: Product) -> Iterator[None]:
    with _kept_down(product, "api"):
        yield
    wait_for(lambda: _reply(product, "/api/v1/cameras") == "200", 15, "the API answers again")


@contextmanager
def _kept_down(product: Product, name: str) -> Iterator[None]:
    """Kill a service, and again each time that it is started."""
    over = threading.Event()

    def keep_down() -> None:
        while not over.is_set():
            if name in product.pids():
                product.kill(name)
            over.wait(0.1)

    thread = threading.Thread(target=keep_down)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.timeout(300)
def test_after_kill_9_of_vms_up_its_children_end_and_the_next_start_goes_on(tmp_path: Path) -> None:
    clip = asset(CARS)
    rounds = 5 if FULL else 2
    with Simulator(clip, cameras=_CAMERAS) as cameras, Product(tmp_path) as product:
        ids = [
            product.add_camera(cameras.url(n), f"Camera {n}", container="mkv" if n % 2 else "mp4")
            for n in range(_CAMERAS)
        ]
        for number in range(rounds):
            for camera_id in ids:
                product.wait_state(camera_id, "online")
            wait_for(lambda: catalogue_mismatch(product, ids) is None, 30, "the catalogue equals the files")
            began = time.monotonic()
            if number % 2:
                # As when the machine loses its power: nobody can say goodbye.
                for pid in product.all_pids():
                    os.kill(pid, signal.SIGKILL)
            else:
                os.kill(product.pid, signal.SIGKILL)
            wait_for(lambda: not product.all_pids(), 10, "every child of vms up ends")
            figure(
                f"{'all' if number % 2 else 'vms up'} killed: no process left after {time.monotonic() - began:.2f} s"
            )
            before = _frames_on_disk(product, ids)
            product.kill_everything()
            began_us = now_us()
            product.start()
            wait_for(partial(_have_grown, product, before), 30, "all cameras record again")
            frames = {camera_id: recorded_frames(product.media_files(camera_id)) for camera_id in ids}
            first_s = [(frames[camera_id][before[camera_id]].capture_us - began_us) / 1e6 for camera_id in ids]
            figure(f"started again: first new frame taken {spread(first_s)} after the start (less than 0: replayed)")
        wait_catalogue(product, ids)
    source = demuxed_digests(clip)
    for camera_id in ids:
        assert len(breaks(recorded_frames(product.media_files(camera_id)), source)) <= rounds
    figure(f"{assert_whole(product, ids)} files whole")


def _frames_on_disk(product: Product, ids: list[str]) -> dict[str, int]:
    return {camera_id: len(recorded_frames(product.media_files(camera_id))) for camera_id in ids}


def _have_grown(product: Product, before: dict[str, int]) -> bool:
    now = _frames_on_disk(product, list(before))
    return all(now[camera_id] > frames for camera_id, frames in before.items())
