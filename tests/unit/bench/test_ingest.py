import asyncio
import socket
import sys
from pathlib import Path

import pytest
from tests.support.nats import until
from tests.support.services import free_port

from vms.bench import ingest
from vms.bench.ingest import BenchResult, BenchSettings, Cost
from vms.bench.recorded import IngestFacts
from vms.common.errors import ErrorKind, VmsError

SETTINGS = BenchSettings(cameras=2, seconds=0.01)
IDLE = (sys.executable, "-c", "import signal; signal.pause()")


def finished(expected: int, recorded: int, lost: int) -> BenchResult:
    cost = Cost(1.0, 1.0)
    return BenchResult(SETTINGS, 4.0, cost, cost, expected, recorded, lost)


@pytest.mark.parametrize(
    ("expected", "recorded", "lost", "is_lossless"),
    [(100, 100, 0, True), (100, 99, 0, False), (100, 100, 1, False), (0, 0, 0, False)],
)
def test_a_run_that_lost_or_sent_nothing_is_not_lossless(
    expected: int, recorded: int, lost: int, *, is_lossless: bool
) -> None:
    assert finished(expected, recorded, lost).is_lossless == is_lossless


def test_the_median_of_the_rounds_counts() -> None:
    costs = [Cost(3, 30), Cost(1, 20), Cost(2, 10)]
    assert ingest._median(costs) == Cost(2, 20)


async def test_processes_end_with_the_block_that_started_them() -> None:
    stubborn = "import signal; signal.signal(15, signal.SIG_DFL); signal.pause()"
    async with ingest._running([IDLE, (sys.executable, "-c", stubborn), (sys.executable, "-c", "")]) as processes:
        assert len({process.pid for process in processes}) == 3
    assert all(process.returncode is not None for process in processes)


async def test_processes_end_when_one_of_them_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with ingest._running([IDLE, (str(tmp_path / "missing"),)]):
            raise AssertionError("not reached")


def test_every_peer_gets_its_cameras_own_stream(tmp_path: Path) -> None:
    url = "rtsp://127.0.0.1:1/cam{n}"
    first, second = ingest._ffmpeg_commands(url, 2)(tmp_path)
    assert "rtsp://127.0.0.1:1/cam0" in first
    assert "rtsp://127.0.0.1:1/cam1" in second
    assert "copy" in first
    for commands in (ingest._floor_commands(url, 2), ingest._gstreamer_commands(url, 2)):
        ((*_, given, cameras, directory),) = commands(tmp_path)
        assert (given, cameras, directory) == (url, "2", str(tmp_path))


async def test_a_peer_is_measured_once_all_its_files_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "_SETTLE_S", 0.0)
    write = (
        "import signal, sys, pathlib\n"
        "for n in range(2): (pathlib.Path(sys.argv[1]) / f'{n}_00000.mp4').write_text('x')\n"
        "signal.pause()"
    )
    cost = await ingest._peer(SETTINGS, tmp_path / "peer", lambda path: [(sys.executable, "-c", write, str(path))])
    assert cost.rss_mb_per_camera > 1
    assert cost.cpu_percent_per_camera >= 0
    assert not (tmp_path / "peer").exists()


async def test_a_peer_that_records_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "_READY_TIMEOUT_S", -1.0)
    with pytest.raises(VmsError, match="peer does not record all cameras") as caught:
        await ingest._peer(SETTINGS, tmp_path / "peer", lambda _: [IDLE])
    assert caught.value.kind is ErrorKind.TIMEOUT


async def test_ingest_is_waited_for_until_all_its_cameras_are_online(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[IngestFacts | None] = []
    monkeypatch.setattr(ingest, "ingest_facts", lambda _: found.pop(0) if found else IngestFacts(1, 0, 0))
    monkeypatch.setattr(ingest, "_READY_TIMEOUT_S", -1.0)
    async with ingest._running([IDLE]) as (process,):
        found.append(IngestFacts(2, 0, 0))
        await ingest._until_online(2, 1, process)
        assert found == []
        for answer in (None, IngestFacts(1, 0, 0)):
            found.append(answer)
            with pytest.raises(VmsError, match="not all cameras came online"):
                await ingest._until_online(2, 1, process)
    with pytest.raises(VmsError, match="ingest ended"):
        await ingest._until_online(2, 1, process)


async def test_a_simulator_that_ended_is_not_waited_for() -> None:
    async with ingest._running([(sys.executable, "-c", "")]) as (process,):
        await process.wait()
        with pytest.raises(VmsError, match="the simulator does not serve"):
            await ingest._until_port("127.0.0.1", free_port(), process)


async def test_a_simulator_is_used_as_soon_as_it_listens() -> None:
    async with ingest._running([IDLE]) as (process,):
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            await ingest._until_port("127.0.0.1", server.sockets[0].getsockname()[1], process)
        assert process.returncode is None


def test_every_run_takes_ports_that_nobody_has() -> None:
    port = ingest._free_port("127.0.0.1")
    with socket.create_server(("127.0.0.1", port)):
        assert ingest._free_port("127.0.0.1") != port
    assert ingest._free_port("10.213.77.1") == 8554  # an address of its own, with all its ports


def test_files_count_once_per_camera_and_only_when_they_grow(tmp_path: Path) -> None:
    for name, size in (("0_00000.mkv", 5), ("0_00001.mkv", 5), ("1.raw", 5), ("2.raw", 0)):
        (tmp_path / name).write_bytes(bytes(size))
    assert ingest._growing_files(tmp_path) == 2


async def test_the_children_are_watched_without_a_shell() -> None:
    async with ingest._running([("sleep", "60; echo")]) as (process,):
        await until(lambda: process.returncode is not None)
    assert process.returncode == 1
