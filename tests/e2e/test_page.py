"""The built-in page in a real browser: adds a camera, shows its state, plays what was recorded."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, async_playwright, expect
from tests.support.nats import NatsServer, connected_bus
from tests.support.recordings import encoded, split
from tests.support.services import answering, free_port, running
from tests.support.storage import announcement_of

from vms.api import main as api_main
from vms.api.config import ApiSettings
from vms.bus.client import Bus
from vms.common.stream import Container, VideoCodec
from vms.common.types import CameraId
from vms.db.engine import sqlite_url
from vms.format.recording import RecordingWriter
from vms.proto import subjects
from vms.proto.convert import encode
from vms.storage import main as storage_main
from vms.storage.config import StorageSettings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@contextlib.asynccontextmanager
async def site(data_dir: Path) -> AsyncGenerator[tuple[str, Bus]]:
    """API and storage in this process; yields the page's address and a bus."""
    (data_dir / "cameras").mkdir()
    api_port, storage_port = free_port(), free_port()
    url = sqlite_url(data_dir / "vms.sqlite")
    async with (
        NatsServer(data_dir / "n") as nats,
        connected_bus(nats) as bus,
        Bus(nats.settings, "api") as api_bus,
        Bus(nats.settings, "storage") as storage_bus,
    ):
        api_settings = ApiSettings(port=api_port, storage_port=storage_port)
        storage_settings = StorageSettings(port=storage_port, api_port=api_port)
        async with (
            running(api_main.run(api_settings, api_bus, database_url=url)),
            running(storage_main.run(storage_settings, storage_bus, database_url=url, data_dir=data_dir)),
            httpx.AsyncClient() as client,
        ):
            await answering(client, f"http://localhost:{api_port}/health")
            await answering(client, f"http://localhost:{storage_port}/health")
            yield f"http://localhost:{api_port}", bus


@contextlib.asynccontextmanager
async def browser_page(url: str) -> AsyncGenerator[Page]:
    """The page, loaded."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page()
        await page.goto(url)
        yield page
        await browser.close()


async def record_the_last_minute(bus: Bus, data_dir: Path, camera_id: str, container: Container) -> None:
    stream = encoded(VideoCodec.H264, frames=500, gop=50)
    writer = RecordingWriter(data_dir, CameraId(camera_id), container=container)
    for part in split(stream.units, start_us=time.time_ns() // 1000 - 30_000_000):
        for event in writer.write(stream.params, part, 0.0):
            announcement = announcement_of(event)
            subject = subjects.recording(announcement.camera_id, announcement.kind)
            await bus.publish_durable(subject, encode(announcement))
    writer.close()


async def plays(page: Page) -> dict[str, object]:
    """What the player does, once its time moves on."""
    async with asyncio.timeout(20):
        while True:
            state: dict[str, object] = await page.evaluate(
                "() => { const v = document.getElementById('video');"
                " return { time: v.currentTime, duration: v.duration, width: v.videoWidth, kind: v.dataset.kind,"
                " plays_hls: v.canPlayType('application/vnd.apple.mpegurl') !== '' } }"
            )
            if isinstance(state["time"], int | float) and state["time"] > 0.3:
                return state
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("container", list(Container))
async def test_the_page_plays_what_was_recorded_a_minute_ago(tmp_path: Path, container: Container) -> None:
    async with site(tmp_path) as (url, bus):
        async with httpx.AsyncClient(base_url=url) as client:
            body = {"id": "door", "name": "Front door", "url": "rtsp://192.0.2.1/1", "container": container}
            assert (await client.post("/api/v1/cameras", json=body)).status_code == 201
        await record_the_last_minute(bus, tmp_path, "door", container)
        async with browser_page(url) as page:
            await page.get_by_role("button", name="Play Front door").click()
            state = await plays(page)
            assert state["width"] == 192
            assert abs(float(str(state["duration"])) - 20) < 0.5
            # Falling back to the clip where the browser plays HLS would hide that it does not play ours.
            assert state["kind"] == ("hls" if state["plays_hls"] else "clip")
            await page.get_by_role("button", name="Close").click()
            await expect(page.locator("#player")).to_be_hidden()


async def test_a_camera_is_added_by_keyboard_and_errors_are_shown(tmp_path: Path) -> None:
    async with site(tmp_path) as (url, _bus), browser_page(url) as page:
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        await expect(page.locator("#empty")).to_be_visible()
        await page.get_by_role("button", name="Add camera").focus()
        await page.keyboard.press("Enter")
        await page.keyboard.type("<b>Yard</b>")
        await page.keyboard.press("Tab")
        await page.keyboard.type("http://wrong")
        await page.keyboard.press("Enter")
        await expect(page.locator("#add-result")).to_contain_text("must start with rtsp://")
        await page.get_by_label("Address").fill("rtsp://u:hunter2@192.0.2.1/1")
        await page.keyboard.press("Enter")
        card = page.locator(".camera")
        await expect(card.locator(".name")).to_have_text("<b>Yard</b>")
        await expect(card.locator(".fault")).to_contain_text("no worker reports")
        await expect(card.locator(".url")).to_have_text("rtsp://192.0.2.1/1")
        await page.get_by_role("button", name="Play <b>Yard</b>").click()
        await expect(page.locator("#player-message")).to_contain_text("nothing is recorded")
        assert failures == []


async def test_the_description_of_the_api_is_rendered_without_anything_from_outside(tmp_path: Path) -> None:
    async with site(tmp_path) as (url, _bus), browser_page(f"{url}/docs") as page:
        foreign: list[str] = []
        page.on("request", lambda request: foreign.append(request.url) if not request.url.startswith(url) else None)
        await page.reload()
        await expect(page.locator("details")).to_have_count(11)
        await page.locator("summary", has_text="Add a camera").click()
        await expect(page.locator("details[open]")).to_contain_text("retention_days")
        assert [address for address in foreign if not address.startswith("data:")] == []
