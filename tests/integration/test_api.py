"""The API service with a real NATS server, and with the storage service behind it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import httpx
import pytest
from tests.integration.test_storage import Site
from tests.support.nats import NatsServer, connected_bus
from tests.support.recordings import CAMERA, fragment
from tests.support.services import answering, free_port, running

from vms.api.config import ApiSettings
from vms.api.main import run
from vms.bus.client import Bus
from vms.bus.settings import BusSettings
from vms.common.camera import CameraConfig, CameraInfo, CameraState, CameraStatus
from vms.common.errors import VmsError
from vms.common.types import CameraId
from vms.db.engine import sqlite_url
from vms.proto import subjects
from vms.proto.convert import decode, encode
from vms.proto.messages import ProbeReply

BODY = {"name": "Camera 1", "url": "rtsp://admin:pass@192.0.2.1/1"}


@contextlib.asynccontextmanager
async def api(settings: BusSettings, data_dir: Path) -> AsyncGenerator[httpx.AsyncClient]:
    """The service, as a process would run it, with a client to it."""
    port = free_port()
    async with Bus(settings, "api") as bus:
        work = run(ApiSettings(port=port), bus, database_url=sqlite_url(data_dir / "db" / "vms.sqlite"))
        async with running(work), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            await answering(client)
            yield client


async def projected(bus: Bus, condition: Callable[[dict[str, CameraConfig]], bool]) -> None:
    """Return when the bucket of cameras is as it should be."""
    bucket = bus.kv(subjects.CAMERAS_BUCKET)
    async with asyncio.timeout(10):
        while True:
            entries = [await bucket.get(key) for key in await bucket.keys()]
            if condition({entry.key: decode(CameraConfig, entry.value) for entry in entries if entry is not None}):
                return
            await asyncio.sleep(0.02)


async def test_cameras_are_projected_changed_and_removed(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as nats, connected_bus(nats) as bus, api(nats.settings, tmp_path) as client:
        view = (await client.post("/api/v1/cameras", json=BODY)).json()
        await projected(bus, lambda found: list(found) == [view["id"]])
        await client.patch(f"/api/v1/cameras/{view['id']}", json={"container": "mkv"})
        await projected(bus, lambda found: found[view["id"]].container == "mkv")
        entry = await bus.kv(subjects.CAMERAS_BUCKET).get(view["id"])
        assert entry is not None
        assert decode(CameraConfig, entry.value).password.get_secret_value() == "pass"
        await client.delete(f"/api/v1/cameras/{view['id']}")
        await projected(bus, lambda found: not found)


async def test_what_is_written_while_the_bus_is_down_is_projected_when_it_is_back(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as nats, api(nats.settings, tmp_path) as client:
        await nats.stop()
        async with asyncio.timeout(10):
            while (await client.get("/health")).json()["checks"]["bus"] == "ok":  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        reply = await client.post("/api/v1/cameras", json=BODY)
        assert reply.status_code == 201
        assert reply.json()["status"]["state"] == "connecting"
        assert (await client.get("/api/v1/recordings/x")).status_code == 503
        await nats.start()
        async with connected_bus(nats) as bus:
            await projected(bus, lambda found: list(found) == [reply.json()["id"]])


async def test_at_start_the_bucket_is_made_equal_to_the_database(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as nats, connected_bus(nats) as bus:
        async with api(nats.settings, tmp_path) as client:
            view = (await client.post("/api/v1/cameras", json=BODY)).json()
            await projected(bus, lambda found: len(found) == 1)
        bucket = bus.kv(subjects.CAMERAS_BUCKET)
        await bucket.delete(view["id"])
        stranger = CameraConfig(id=CameraId("stranger"), name="S", url="rtsp://h/1")
        await bucket.put("stranger", encode(stranger))
        async with api(nats.settings, tmp_path):
            await projected(bus, lambda found: list(found) == [view["id"]])


async def test_the_state_of_a_camera_is_what_its_worker_puts_into_the_bucket(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as nats, connected_bus(nats) as bus, api(nats.settings, tmp_path) as client:
        view = (await client.post("/api/v1/cameras", json=BODY)).json()
        path = f"/api/v1/cameras/{view['id']}"

        async def shows(state: str) -> None:
            async with asyncio.timeout(10):
                while (await client.get(path)).json()["status"]["state"] != state:  # noqa: ASYNC110 - polled as a client would
                    await asyncio.sleep(0.02)

        status = CameraStatus(camera_id=CameraId(view["id"]), state=CameraState.AUTH_FAILED, since_us=1)
        await bus.kv(subjects.STATUS_BUCKET).put(view["id"], encode(status))
        await shows("auth_failed")
        await bus.kv(subjects.STATUS_BUCKET).delete(view["id"])
        await shows("offline")


async def test_recordings_are_listed_by_way_of_the_storage_service(tmp_path: Path) -> None:
    (tmp_path / "cameras").mkdir()
    async with (
        NatsServer(tmp_path) as nats,
        connected_bus(nats) as bus,
        api(nats.settings, tmp_path) as client,
    ):
        site = Site(nats, bus, tmp_path)
        async with site.storage():
            await site.record([fragment(0), fragment(1)])
            async with asyncio.timeout(10):
                while True:
                    reply = await client.get(f"/api/v1/recordings/{CAMERA}")
                    if reply.status_code == 200 and reply.json()["items"][0]["closed"]:
                        break
                    await asyncio.sleep(0.02)
            [item] = reply.json()["items"]
            assert (item["frames"], item["duration_s"]) == (50, 2.0)
            one = await client.get(f"/api/v1/recordings/{CAMERA}/{item['id']}")
            assert one.json() == item
            assert (await client.get(f"/api/v1/recordings/{CAMERA}/rec_none")).status_code == 404
        assert (await client.get(f"/api/v1/recordings/{CAMERA}")).status_code == 503


async def test_a_camera_is_tried_out_by_the_ingest_service(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as nats, connected_bus(nats) as bus, api(nats.settings, tmp_path) as client:
        info = CameraInfo(url="rtsp://h/1", codec="h264", codec_string="avc1.640028", width=1920, height=1080)

        async def probe(_message: object) -> bytes:
            return encode(ProbeReply(info))

        await bus.serve(subjects.command(subjects.INGEST, subjects.PROBE), probe)
        async with asyncio.timeout(10):
            while True:
                reply = await client.post("/api/v1/cameras/test", json={"url": "rtsp://h/1"})
                if reply.status_code == 200:
                    break
                await asyncio.sleep(0.02)
        assert reply.json()["width"] == 1920


async def test_a_port_in_use_is_one_clear_error(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as nats, connected_bus(nats) as bus, api(nats.settings, tmp_path) as client:
        port = client.base_url.port
        assert port is not None
        with pytest.raises(VmsError, match=f"api: port {port} is in use"):
            await run(ApiSettings(port=port), bus, database_url=sqlite_url(tmp_path / "db" / "vms.sqlite"))
