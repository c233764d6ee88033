from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.http import Api, api_app

from vms.common.camera import CameraInfo, CameraState, CameraStatus
from vms.common.errors import ErrorKind, VmsError
from vms.common.types import CameraId
from vms.proto import subjects
from vms.proto.convert import decode, encode
from vms.proto.messages import ProbeReply, ProbeRequest

BODY = {"name": "Camera 1", "url": "rtsp://192.0.2.10/stream1", "username": "admin", "password": "hunter2"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_app(tmp_path, volumes=["main", "fast"]) as made:
        yield made


async def test_the_documented_post_creates_a_camera_and_says_where_it_is(api: Api) -> None:
    reply = await api.client.post("/api/v1/cameras", json=BODY)
    assert reply.status_code == 201
    view = reply.json()
    assert reply.headers["location"] == f"/api/v1/cameras/{view['id']}"
    assert view["id"].startswith("cam_")
    assert (view["has_credentials"], view["record"], view["container"], view["sink"]) == (True, True, "mp4", "disk")
    assert view["retention_days"] == 30
    assert (await api.client.get(reply.headers["location"])).json() == view


async def test_neither_user_name_nor_password_ever_comes_back(api: Api) -> None:
    replies = [await api.client.post("/api/v1/cameras", json={**BODY, "url": "rtsp://alice:s3cret@192.0.2.10/1"})]
    path = replies[0].headers["location"]
    replies += [
        await api.client.get(path),
        await api.client.get("/api/v1/cameras"),
        await api.client.patch(path, json={"password": "hunter2"}),
        await api.client.post("/api/v1/cameras", json={**BODY, "password": "hunter2", "url": "ftp://u:hunter2@h/"}),
        await api.client.patch(path, json={"username": ["hunter2"]}),
    ]
    for reply in replies:
        for secret in ("hunter2", "s3cret", "alice", "admin"):
            assert secret not in reply.text


async def test_credentials_in_the_url_are_split_off_and_used(api: Api) -> None:
    reply = await api.client.post(
        "/api/v1/cameras", json={"name": "A", "url": "rtsp://al%40ice:p%3Ass@192.0.2.1:8554/x"}
    )
    assert reply.json()["url"] == "rtsp://192.0.2.1:8554/x"
    config = await api.app.state.cameras._repository.config(CameraId(reply.json()["id"]))
    assert (config.username, config.password.get_secret_value()) == ("al@ice", "p:ss")


async def test_explicit_credentials_win_over_those_in_the_url(api: Api) -> None:
    reply = await api.client.post("/api/v1/cameras", json={**BODY, "url": "rtsp://other:word@192.0.2.1/x"})
    config = await api.app.state.cameras._repository.config(CameraId(reply.json()["id"]))
    assert (config.username, config.password.get_secret_value()) == ("admin", "hunter2")


async def test_a_chosen_id_is_kept_and_taken_only_once(api: Api) -> None:
    assert (await api.client.post("/api/v1/cameras", json={**BODY, "id": "door"})).json()["id"] == "door"
    reply = await api.client.post("/api/v1/cameras", json={**BODY, "id": "door"})
    assert reply.status_code == 409
    assert reply.json()["kind"] == "conflict"
    assert "door" in reply.json()["detail"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"url": "http://192.0.2.1/"}, "url"),
        ({"url": "rtsp://"}, "url"),
        ({"url": "rtsp://h:99999/"}, "url"),
        ({"id": "../x"}, "id"),
        ({"record": "yes"}, "record"),
        ({"enabled": 1}, "enabled"),
        ({"container": "avi"}, "container"),
        ({"sink": "tape"}, "sink"),
        ({"retention_days": 0}, "retention_days"),
        ({"retention_days": "7"}, "retention_days"),
        ({"volume": "a/b"}, "volume"),
        ({"retention": 7}, "retention"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_stored(api: Api, change: dict[str, object], field: str) -> None:
    reply = await api.client.post("/api/v1/cameras", json={**BODY, **change})
    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in reply.json()["errors"]] == [field]
    assert reply.json()["detail"].startswith(f"{field}: ")
    assert (await api.client.get("/api/v1/cameras")).json()["items"] == []


async def test_a_volume_that_does_not_exist_is_refused_with_those_that_do(api: Api) -> None:
    reply = await api.client.post("/api/v1/cameras", json={**BODY, "volume": "slow"})
    assert reply.status_code == 422
    assert "fast, main" in reply.json()["detail"]


async def test_patch_changes_what_it_names_and_keeps_the_rest(api: Api) -> None:
    path = (await api.client.post("/api/v1/cameras", json=BODY)).headers["location"]
    before = (await api.client.get(path)).json()
    api.clock.advance(2)
    reply = await api.client.patch(path, json={"container": "mkv", "retention_days": 7.5})
    assert reply.status_code == 200
    changed = {"container": "mkv", "retention_days": 7.5, "updated": reply.json()["updated"]}
    assert reply.json() == {**before, **changed}
    assert reply.json()["updated"] > before["updated"]
    config = await api.app.state.cameras._repository.config(CameraId(before["id"]))
    assert config.password.get_secret_value() == "hunter2"


@pytest.mark.parametrize("change", [{"name": None}, {"id": "x"}, {"url": "rtsp//x"}, {"volume": "slow"}])
async def test_a_wrong_patch_changes_nothing(api: Api, change: dict[str, object]) -> None:
    path = (await api.client.post("/api/v1/cameras", json=BODY)).headers["location"]
    before = (await api.client.get(path)).json()
    assert (await api.client.patch(path, json=change)).status_code == 422
    assert (await api.client.get(path)).json() == before


async def test_delete_removes_and_says_404_the_second_time(api: Api) -> None:
    path = (await api.client.post("/api/v1/cameras", json=BODY)).headers["location"]
    assert (await api.client.delete(path)).status_code == 204
    for reply in (await api.client.delete(path), await api.client.get(path), await api.client.patch(path, json={})):
        assert reply.status_code == 404
        assert reply.json()["kind"] == "not_found"


async def test_pages_of_cameras_hold_each_one_once_in_order_of_creation(api: Api) -> None:
    ids = []
    for number in range(7):
        reply = await api.client.post("/api/v1/cameras", json={**BODY, "name": f"Camera {number}"})
        ids.append(reply.json()["id"])
        api.clock.advance(number % 2)  # some are made within the same microsecond
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await api.client.get("/api/v1/cameras", params={"limit": 2, "cursor": cursor})).json()
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = page["next_cursor"]
    assert sorted(seen) == sorted(ids)
    assert len(set(seen)) == 7


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "cursor=nonsense"])
async def test_a_wrong_page_is_refused(api: Api, query: str) -> None:
    assert (await api.client.get(f"/api/v1/cameras?{query}")).status_code == 422


async def test_the_state_is_what_the_worker_reports(api: Api) -> None:
    path = (await api.client.post("/api/v1/cameras", json=BODY)).headers["location"]
    camera_id = CameraId(path.rsplit("/", 1)[1])
    now_us = api.clock.now_us()
    status = CameraStatus(
        camera_id=camera_id, state=CameraState.ONLINE, since_us=now_us, fps=25.0, recording=True, worker="w1"
    )
    api.statuses.update(camera_id, encode(status))
    shown = (await api.client.get(path)).json()["status"]
    assert (shown["state"], shown["fps"], shown["recording"], shown["worker"]) == ("online", 25.0, True, "w1")
    assert shown["since"].endswith("Z")


async def test_a_camera_that_no_worker_reports_on_is_offline_and_says_so(api: Api) -> None:
    path = (await api.client.post("/api/v1/cameras", json=BODY)).headers["location"]
    new = (await api.client.get(path)).json()["status"]
    assert (new["state"], new["last_error"]) == ("connecting", None)  # no worker can have heard of it yet
    api.clock.advance(3)
    shown = (await api.client.get(path)).json()["status"]
    assert shown["state"] == "offline"
    assert shown["last_error"].startswith("no worker reports")
    await api.client.patch(path, json={"enabled": False})
    assert (await api.client.get(path)).json()["status"]["state"] == "disabled"


async def test_a_camera_can_be_tried_without_adding_it(api: Api) -> None:
    seen: list[ProbeRequest] = []

    async def probe(payload: bytes) -> bytes:
        seen.append(decode(ProbeRequest, payload))
        info = CameraInfo(url="rtsp://h/1", codec="h264", codec_string="avc1.640028", width=1920, height=1080)
        return encode(ProbeReply(info))

    api.bus.handlers[subjects.command(subjects.INGEST, subjects.PROBE)] = probe
    reply = await api.client.post("/api/v1/cameras/test", json={"url": "rtsp://u:p@h/1"})
    assert reply.status_code == 200
    assert (reply.json()["codec"], reply.json()["width"]) == ("h264", 1920)
    assert (seen[0].url, seen[0].username, seen[0].password) == ("rtsp://h/1", "u", "p")
    assert (await api.client.get("/api/v1/cameras")).json()["items"] == []


@pytest.mark.parametrize(
    ("kind", "status"), [(ErrorKind.AUTH, 401), (ErrorKind.UNREACHABLE, 502), (ErrorKind.TIMEOUT, 504)]
)
async def test_what_a_camera_answers_to_a_test_becomes_a_problem(api: Api, kind: ErrorKind, status: int) -> None:
    async def probe(_payload: bytes) -> bytes:
        raise VmsError(kind, "the camera says no")

    api.bus.handlers[subjects.command(subjects.INGEST, subjects.PROBE)] = probe
    reply = await api.client.post("/api/v1/cameras/test", json={"url": "rtsp://h/1"})
    assert (reply.status_code, reply.json()["detail"]) == (status, "the camera says no")


async def test_a_test_without_an_ingest_service_is_unavailable(api: Api) -> None:
    assert (await api.client.post("/api/v1/cameras/test", json={"url": "rtsp://h/1"})).status_code == 503
