"""The storage service with a real NATS server, real recordings, and ffmpeg as the player."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.support.nats import NatsServer, connected_bus, until
from tests.support.recordings import CAMERA, PARAMS, START_US, encoded, fragment, split
from tests.support.services import answering, free_port, running
from tests.support.storage import announcement_of
from tests.unit.storage.test_sink import parts

from vms.bus.client import Bus
from vms.common.errors import VmsError
from vms.common.stream import Container, VideoCodec, VideoParameters
from vms.common.timestamps import format_us
from vms.common.types import CameraId
from vms.db.engine import sqlite_url
from vms.format.check import check
from vms.format.model import Fragment, RecordingEvent
from vms.format.reader import SegmentReader
from vms.format.recording import RecordingWriter
from vms.proto import subjects
from vms.proto.convert import encode
from vms.storage.config import StorageSettings
from vms.storage.main import run

SPAN = {"start": format_us(START_US), "end": format_us(START_US + 7_200_000_000)}


@dataclass
class Site:
    """A NATS server, a bus of the test's own, and a data directory."""

    nats: NatsServer
    bus: Bus
    data_dir: Path

    @property
    def database(self) -> Path:
        return self.data_dir / "db" / "vms.sqlite"

    @contextlib.asynccontextmanager
    async def storage(self) -> AsyncGenerator[httpx.AsyncClient]:
        """The service, as a process would run it, with a client to it."""
        port = free_port()
        async with Bus(self.nats.settings, "storage") as bus:
            work = run(StorageSettings(port=port), bus, database_url=sqlite_url(self.database), data_dir=self.data_dir)
            async with running(work), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                await answering(client)
                yield client

    async def record(
        self,
        made: list[Fragment],
        container: Container = Container.MP4,
        *,
        params: VideoParameters = PARAMS,
        camera_id: CameraId = CAMERA,
        close: bool = True,
    ) -> RecordingWriter:
        """Write to disk and announce, as ingest does."""
        writer = RecordingWriter(self.data_dir, camera_id, container=container)
        events: list[RecordingEvent] = []
        for part in made:
            events += writer.write(params, part, 0.0)
        for event in [*events, *(writer.close() if close else [])]:
            announcement = announcement_of(event)
            await self.bus.publish_durable(subjects.recording(camera_id, announcement.kind), encode(announcement))
        return writer


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    (tmp_path / "cameras").mkdir()
    async with NatsServer(tmp_path / "nats-data") as nats, connected_bus(nats) as bus:
        yield Site(nats, bus, tmp_path)


async def listed(
    client: httpx.AsyncClient, *, count: int, frames: int, timeout_s: float = 10
) -> list[dict[str, object]]:
    """The recordings, once there are so many of them with so many frames."""
    async with asyncio.timeout(timeout_s):
        while True:
            found: list[dict[str, object]] = (await client.get(f"/recordings/{CAMERA}", params=SPAN)).json()[
                "recordings"
            ]
            if len(found) == count and sum(int(str(item["frames"])) for item in found) == frames:
                return found
            await asyncio.sleep(0.02)


async def played_frames(url: str) -> int:
    """How many frames ffmpeg decodes from a URL, after a check that it complains of nothing."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v"]
    command += ["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", url]
    done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return int(done.stdout.split()[0].strip(","))


@pytest.mark.parametrize("container", list(Container))
@pytest.mark.parametrize("codec", list(VideoCodec))
async def test_ffmpeg_plays_every_frame_of_a_playlist_and_of_a_clip(
    site: Site, container: Container, codec: VideoCodec
) -> None:
    stream = encoded(codec, frames=300)
    async with site.storage() as client:
        await site.record(split(stream.units), container, params=stream.params)
        await listed(client, count=1, frames=300)
        query = "&".join(f"{key}={value}" for key, value in SPAN.items())
        base = f"{client.base_url}/recordings/{CAMERA}"
        assert await played_frames(f"{base}/playlist.m3u8?{query}") == 300
        assert await played_frames(f"{base}/clip.mp4?{query}") == 300


async def test_the_open_hour_plays_up_to_the_fragment_written_last(site: Site) -> None:
    stream = encoded(VideoCodec.H264, frames=200)
    made = split(stream.units)
    async with site.storage() as client:
        writer = await site.record(made[:1], params=stream.params, close=False)
        await listed(client, count=1, frames=25)
        for part in made[1:]:
            writer.write(stream.params, part, 0.0)  # no announcement follows
        began = time.monotonic()
        await listed(client, count=1, frames=200)
        assert time.monotonic() - began < 2
        query = "&".join(f"{key}={value}" for key, value in SPAN.items())
        assert await played_frames(f"{client.base_url}/recordings/{CAMERA}/playlist.m3u8?{query}") == 200
        writer.close()


async def test_announcements_made_while_storage_was_down_are_catalogued_when_it_is_back(site: Site) -> None:
    async with site.storage() as client:
        await site.record([fragment(0)])
        await listed(client, count=1, frames=25)
    await site.record([fragment(3600), fragment(3601)])
    async with site.storage() as client:
        [first, second] = await listed(client, count=2, frames=75)
        assert first["id"] != second["id"]


async def test_the_catalogue_catches_up_after_the_database_was_locked(site: Site) -> None:
    async with site.storage() as client:
        await answering(client)
        with contextlib.closing(sqlite3.connect(site.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await site.record([fragment(0), fragment(1)])
            # Longer than a writer waits for the lock, so that announcements are refused and come again.
            await asyncio.sleep(7)
            assert (await client.get(f"/recordings/{CAMERA}", params=SPAN)).json()["recordings"] == []
            other.execute("ROLLBACK")
        [recording] = await listed(client, count=1, frames=50, timeout_s=30)
        async with asyncio.timeout(30):
            while not recording["closed"]:
                [recording] = await listed(client, count=1, frames=50)


async def test_fragments_over_the_bus_are_written_once_each_across_a_restart(site: Site) -> None:
    made = [fragment(number, size=9000) for number in range(12)]

    async def send(numbers: range) -> None:
        for number in numbers:
            for part in parts(made[number], number, size=100_000):
                await site.bus.publish_durable(subjects.fragment(CAMERA), encode(part))

    async with site.storage() as client:
        await send(range(5))
        await listed(client, count=1, frames=125)
    await send(range(5, 8))
    async with site.storage() as client:
        await send(range(8, 12))
        await listed(client, count=1, frames=300)
    assert list(check(site.data_dir)) == []
    [media] = site.data_dir.glob("cameras/*/*/video*")
    data = media.read_bytes()
    with SegmentReader.open(media) as reader:
        assert reader.is_closed
        frames = [data[s.offset : s.offset + s.size] for record in reader.records for s in reader.samples(record)]
    assert frames == [unit.payload for part in made for unit in part.units]


async def test_a_storage_service_killed_while_it_writes_from_the_bus_loses_and_doubles_nothing(site: Site) -> None:
    made = [fragment(number, size=9000) for number in range(60)]

    async def send() -> None:
        for number, part in enumerate(made):
            for piece in parts(part, number, size=100_000):
                await site.bus.publish_durable(subjects.fragment(CAMERA), encode(piece))

    sending = asyncio.create_task(send())
    for kill in range(2):
        with started_process(site) as process:
            await bytes_written(site.data_dir, 1_000_000 * (kill + 1))
            process.kill()
    await sending
    async with site.storage() as client:
        await listed(client, count=1, frames=1500, timeout_s=60)
    assert list(check(site.data_dir)) == []
    [media] = site.data_dir.glob("cameras/*/*/video*")
    data = media.read_bytes()
    with SegmentReader.open(media) as reader:
        frames = [data[s.offset : s.offset + s.size] for record in reader.records for s in reader.samples(record)]
    assert frames == [unit.payload for part in made for unit in part.units]


@contextlib.contextmanager
def started_process(site: Site) -> Generator[subprocess.Popen[bytes]]:
    """The service in a process of its own."""
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from vms.bus.client import Bus\n"
        "from vms.bus.settings import BusSettings\n"
        "from vms.storage.config import StorageSettings\n"
        "from vms.storage.main import run\n"
        "async def main():\n"
        "    async with Bus(BusSettings.discover(Path(sys.argv[1])), 'storage') as bus:\n"
        "        settings = StorageSettings(port=int(sys.argv[4]))\n"
        "        await run(settings, bus, database_url=sys.argv[2], data_dir=Path(sys.argv[3]))\n"
        "asyncio.run(main())\n"
    )
    arguments = [str(site.nats.data_dir), sqlite_url(site.database), str(site.data_dir), str(free_port())]
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def bytes_written(data_dir: Path, size: int) -> None:
    """Return when the recording has grown to ``size``."""

    def written() -> int:
        return sum(path.stat().st_size for path in data_dir.glob("cameras/*/*/video*"))

    await until(lambda: written() >= size, 30)


async def test_a_port_in_use_is_one_clear_error(site: Site) -> None:
    async with site.storage() as client:
        port = client.base_url.port
        assert port is not None
        work = run(StorageSettings(port=port), site.bus, database_url=sqlite_url(site.database), data_dir=site.data_dir)
        with pytest.raises(VmsError, match=f"storage: port {port} is in use"):
            await work
