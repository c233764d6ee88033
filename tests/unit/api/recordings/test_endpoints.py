from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.http import Api, api_app

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container, VideoCodec, VideoParameters
from vms.common.types import CameraId
from vms.proto import subjects
from vms.proto.convert import decode, encode
from vms.proto.messages import GetRecordingRequest, ListRecordingsReply, ListRecordingsRequest, Recording

LIST = subjects.command(subjects.STORAGE, subjects.LIST_RECORDINGS)
GET = subjects.command(subjects.STORAGE, subjects.GET_RECORDING)
RECORDING = Recording(
    id="rec_1",
    camera_id=CameraId("cam_a"),
    volume="main",
    path="cameras/cam_a/2026-03-01/video_10.mp4",
    container=Container.MP4,
    parameters=VideoParameters(VideoCodec.H264, 1920, 1080, b"", "avc1.640028"),
    start_us=1_772_359_200_000_000,
    end_us=1_772_359_201_500_000,
    size_bytes=1000,
    frames=38,
    fragments=2,
    closed=False,
)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_app(tmp_path) as made:
        yield made


def answer(api: Api, reply: ListRecordingsReply) -> list[ListRecordingsRequest]:
    seen: list[ListRecordingsRequest] = []

    async def handler(payload: bytes) -> bytes:
        seen.append(decode(ListRecordingsRequest, payload))
        return encode(reply)

    api.bus.handlers[LIST] = handler
    return seen


async def test_filters_go_to_storage_and_its_page_comes_back(api: Api) -> None:
    seen = answer(api, ListRecordingsReply((RECORDING,), "next"))
    reply = await api.client.get(
        "/api/v1/recordings/cam_a",
        params={"start": "2026-03-01T10:00:00Z", "end": "2026-03-01T12:00:00+01:00", "limit": 5, "cursor": "c"},
    )
    assert reply.status_code == 200
    item = reply.json()["items"][0]
    assert (item["id"], item["start"], item["duration_s"]) == ("rec_1", "2026-03-01T10:00:00.000000Z", 1.5)
    assert (item["closed"], item["bytes"], item["codec_string"]) == (False, 1000, "avc1.640028")
    assert reply.json()["next_cursor"] == "next"
    hour_us = 3_600_000_000
    assert seen == [ListRecordingsRequest(CameraId("cam_a"), RECORDING.start_us, RECORDING.start_us + hour_us, 5, "c")]


async def test_a_camera_without_recordings_has_an_empty_list_and_an_unknown_one_is_not_found(api: Api) -> None:
    answer(api, ListRecordingsReply())
    await api.client.post("/api/v1/cameras", json={"id": "cam_b", "name": "B", "url": "rtsp://h/1"})
    assert (await api.client.get("/api/v1/recordings/cam_b")).json() == {"items": [], "next_cursor": None}
    assert (await api.client.get("/api/v1/recordings/cam_a")).status_code == 404


async def test_without_the_storage_service_the_answer_is_503_with_a_hint(api: Api) -> None:
    for path in ("/api/v1/recordings/cam_a", "/api/v1/recordings/cam_a/rec_1"):
        reply = await api.client.get(path)
        assert reply.status_code == 503
        assert reply.json()["kind"] == "unavailable"
        assert "storage" in reply.json()["detail"]
        assert reply.headers["retry-after"] == "2"


async def test_a_storage_service_that_hangs_is_unavailable_too(api: Api) -> None:
    async def hang(_payload: bytes) -> bytes:
        raise VmsError(ErrorKind.TIMEOUT, "no reply within 5 s")

    api.bus.handlers[LIST] = hang
    assert (await api.client.get("/api/v1/recordings/cam_a")).status_code == 503


@pytest.mark.parametrize(
    "query", ["start=yesterday", "start=2026-03-01T10:00:00Z&end=2026-03-01T10:00:00Z", "limit=0", "limit=1001"]
)
async def test_a_wrong_range_is_refused_without_asking_storage(api: Api, query: str) -> None:
    seen = answer(api, ListRecordingsReply())
    assert (await api.client.get(f"/api/v1/recordings/cam_a?{query}")).status_code == 422
    assert seen == []


async def test_one_recording_is_described_and_a_missing_one_is_not_found(api: Api) -> None:
    async def get(payload: bytes) -> bytes:
        if decode(GetRecordingRequest, payload).recording_id == "rec_1":
            return encode(RECORDING)
        raise VmsError(ErrorKind.NOT_FOUND, "no recording rec_2")

    api.bus.handlers[GET] = get
    assert (await api.client.get("/api/v1/recordings/cam_a/rec_1")).json()["frames"] == 38
    assert (await api.client.get("/api/v1/recordings/cam_a/rec_2")).status_code == 404
    assert (await api.client.get("/api/v1/recordings/..%2fx/rec_1")).status_code in {404, 422}
