"""The storage service on a fresh database and a temporary volume, without NATS."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httpx
from fastapi import FastAPI
from tests.support.database import migrated_database
from tests.support.http import FakeBus, http_client
from tests.support.recordings import CAMERA, PARAMS, START_US

from vms.bus.client import Bus
from vms.bus.consumer import Delivery
from vms.common.clock import ManualClock
from vms.common.stream import Container, VideoCodec, VideoParameters
from vms.common.types import CameraId
from vms.common.volumes import VolumeSettings
from vms.format.model import Fragment, RecordingEvent, SegmentClosed, SegmentOpened
from vms.format.recording import RecordingWriter
from vms.proto.convert import encode
from vms.proto.messages import AnnouncementKind, RecordingAnnouncement, RecordingFile
from vms.storage.config import StorageSettings
from vms.storage.main import Storage, create_app
from vms.storage.segments import SegmentFacts, segment_id

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


def facts(**changes: object) -> SegmentFacts:
    """A catalogued file; its id follows from its place unless given."""
    values: dict[str, object] = {
        "camera_id": CAMERA,
        "volume": "main",
        "path": f"cameras/{CAMERA}/2026-03-01/video_10.mp4",
        "container": Container.MP4,
        "codec": VideoCodec.H264,
        "codec_string": "avc1.640028",
        "width": 1920,
        "height": 1080,
        "start_us": START_US,
        "end_us": START_US + HOUR_US,
        "size_bytes": 1_000_000,
        "frames": 90_000,
        "fragments": 3600,
        "closed": True,
    } | changes
    values.setdefault("id", segment_id(str(values["volume"]), str(values["path"])))
    return SegmentFacts(**values)  # type: ignore[arg-type] # a table of fields


@dataclass
class FakePublisher:
    """Keeps what is published durably."""

    sent: list[tuple[str, bytes]] = field(default_factory=list)

    async def publish_durable(
        self, subject: str, payload: bytes, *, msg_id: str | None = None, timeout_s: float = 5.0
    ) -> int:
        del msg_id, timeout_s
        self.sent.append((subject, payload))
        return len(self.sent)


@dataclass
class StorageApp:
    """The service's parts, its HTTP application, and its one volume."""

    storage: Storage
    app: FastAPI
    client: httpx.AsyncClient
    root: Path
    clock: ManualClock

    async def announce(self, events: Sequence[RecordingEvent]) -> None:
        """What a recorder reports, as the bus would bring it."""
        for event in events:
            await self.storage.catalogue.apply(delivery(announcement_of(event)))

    async def record(
        self,
        fragments: Sequence[Fragment],
        container: Container = Container.MP4,
        *,
        params: VideoParameters = PARAMS,
        camera_id: CameraId = CAMERA,
        close: bool = True,
    ) -> RecordingWriter:
        """Write fragments to the volume and catalogue them, all but the progress."""
        writer = RecordingWriter(self.root, camera_id, container=container)
        events: list[RecordingEvent] = []
        for part in fragments:
            events += writer.write(params, part, 0.0)
        if close:
            events += writer.close()
        await self.announce([event for event in events if isinstance(event, SegmentOpened | SegmentClosed)])
        return writer


@asynccontextmanager
async def storage_app(directory: Path, settings: StorageSettings | None = None) -> AsyncGenerator[StorageApp]:
    """The storage service, whose clock stands a minute after the recordings of tests begin."""
    root = directory / "volume"
    (root / "cameras").mkdir(parents=True)
    clock = ManualClock(START_US + 60_000_000)
    async with migrated_database(directory / "db") as sessions:
        storage = Storage(
            settings or StorageSettings(),
            cast("Bus", FakeBus()),
            sessions,
            volumes=[VolumeSettings(name="main", path=root, min_free_bytes=0)],
            clock=clock,
        )
        with storage:
            app = create_app(storage)
            async with http_client(app, 9092) as client:
                yield StorageApp(storage, app, client, root, clock)


def announcement_of(event: RecordingEvent, volume: str = "main") -> RecordingAnnouncement:
    """What a recorder says of an event."""
    kind = AnnouncementKind.PROGRESS
    if isinstance(event, SegmentOpened):
        kind = AnnouncementKind.OPENED
    elif isinstance(event, SegmentClosed):
        kind = AnnouncementKind.CLOSED
    file = RecordingFile(
        volume=volume,
        path=str(event.path),
        container=event.container,
        parameters=event.params,
        start_us=event.start_us,
        end_us=event.end_us,
        size_bytes=event.size_bytes,
        frames=event.frames,
        fragments=event.fragments,
    )
    return RecordingAnnouncement(event.camera_id, "w1", kind, file=file)


def delivery(message: object, *, attempt: int = 1) -> Delivery:
    """A message as a durable consumer gets it."""
    return Delivery(subject="vms.recording.x.y", payload=encode(message), sequence=1, attempt=attempt)
