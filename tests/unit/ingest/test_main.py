import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.support.ingest import camera
from tests.support.services import answering, free_port, running

from vms.bus.client import Bus
from vms.bus.settings import BusSettings
from vms.bus.subscription import BusMessage
from vms.common.clock import SystemClock
from vms.common.errors import ErrorKind, VmsError
from vms.common.volumes import VolumeSettings, default_volumes
from vms.ingest import main
from vms.ingest.config import IngestSettings
from vms.ingest.desired import save_desired
from vms.ingest.main import run
from vms.media.rtsp.tick_reader import TickReader
from vms.proto.convert import encode
from vms.proto.messages import ProbeRequest


@contextlib.asynccontextmanager
async def no_bus(directory: Path) -> AsyncIterator[Bus]:
    """A bus whose server never comes."""
    async with Bus(BusSettings.discover(directory), "test") as bus:
        yield bus


@contextlib.asynccontextmanager
async def client_of(port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client


@pytest.fixture(autouse=True)
def _web_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "_WEB_DELAY_S", 0.0)


async def test_it_runs_without_bus_and_camera_and_says_what_is_missing(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "ingest").mkdir()
    away = camera("away", url=f"rtsp://127.0.0.1:{free_port()}/x")
    save_desired(tmp_path / "ingest" / "cameras.json", {away.id: away})
    async with no_bus(tmp_path) as bus, client_of(port) as client:
        service = run(IngestSettings(port=port), bus, data_dir=tmp_path, volumes=default_volumes(tmp_path))
        async with running(service):
            health = (await answering(client)).json()
            assert (health["service"], health["status"]) == ("ingest", "degraded")
            assert health["checks"] == {"recording": "ok", "bus": "not connected", "cameras": "not online: away"}
            (status,) = (await client.get("/status")).json()
            assert (status["camera_id"], status["recording"]) == ("away", False)
            metrics = (await client.get("/metrics")).text
            assert 'vms_camera_up{camera="away"} 0.0' in metrics
            assert "vms_ingest_cameras 1.0" in metrics


async def test_a_second_ingest_of_the_same_data_directory_is_refused(tmp_path: Path) -> None:
    port = free_port()
    async with no_bus(tmp_path) as bus, client_of(port) as client:
        first = run(IngestSettings(port=port), bus, data_dir=tmp_path, volumes=default_volumes(tmp_path))
        async with running(first):
            await answering(client)
            second = run(IngestSettings(port=0), bus, data_dir=tmp_path, volumes=default_volumes(tmp_path))
            with pytest.raises(VmsError, match=f"in use by process {os.getpid()}") as caught:
                await second
            assert caught.value.kind is ErrorKind.CONFLICT


async def test_a_port_in_use_costs_the_metrics_only_until_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "_LISTEN_RETRY_S", 0.05)
    port = free_port()
    async with no_bus(tmp_path) as bus, client_of(port) as client:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
        service = run(IngestSettings(port=port), bus, data_dir=tmp_path, volumes=default_volumes(tmp_path))
        async with running(service) as task:
            with pytest.raises(httpx.TransportError):
                await client.get("/health")
            assert not task.done()
            server.close()
            await server.wait_closed()
            assert (await answering(client)).json()["service"] == "ingest"


async def test_a_probe_that_is_not_answered_fails_with_the_reason_and_without_the_password(tmp_path: Path) -> None:
    async with no_bus(tmp_path) as bus:
        service = main._Service(IngestSettings(), bus, "w1", {}, TickReader(), SystemClock())
        request = ProbeRequest(f"rtsp://admin:s3cr3t@127.0.0.1:{free_port()}/x", timeout_s=2)
        with pytest.raises(VmsError) as caught:
            await service._probe(BusMessage("probe", encode(request)))
        assert caught.value.kind is ErrorKind.UNREACHABLE
        assert "s3cr3t" not in caught.value.message


async def test_a_probe_ends_within_the_time_that_was_asked_for(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server, no_bus(tmp_path) as bus:
        service = main._Service(IngestSettings(), bus, "w1", {}, TickReader(), SystemClock())
        port = server.sockets[0].getsockname()[1]
        request = ProbeRequest(f"rtsp://127.0.0.1:{port}/x", timeout_s=0.05)
        with pytest.raises(VmsError, match=r"within 0\.05 s") as caught:
            await service._probe(BusMessage("probe", encode(request)))
        assert caught.value.kind is ErrorKind.TIMEOUT


async def test_volumes_finish_what_is_queued_when_the_service_ends(tmp_path: Path) -> None:
    done: list[str] = []
    volumes = [VolumeSettings(name=name, path=tmp_path / name) for name in ("a", "b")]
    async with main._open_volumes(volumes, IngestSettings(), SystemClock()) as opened:
        assert set(opened) == {"a", "b"}
        for name, volume in opened.items():
            for _ in range(100):
                assert volume.writer.submit(lambda name=name: done.append(name), 10)  # type: ignore[misc]
    assert sorted(done) == ["a"] * 100 + ["b"] * 100
    assert not opened["a"].writer.submit(lambda: None, 0)
