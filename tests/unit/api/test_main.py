from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.http import Api, api_app

from vms.api.config import ApiSettings
from vms.common.errors import ErrorKind, VmsError

CAMERA = {"name": "A", "url": "rtsp://h/1"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_app(tmp_path) as made:
        yield made


async def test_the_api_describes_itself_in_openapi_3_1_with_all_its_routes(api: Api) -> None:
    spec = (await api.client.get("/openapi.json")).json()
    assert spec["openapi"].startswith("3.1")
    assert set(spec["paths"]) == {
        "/health",
        "/metrics",
        "/api/v1/system",
        "/api/v1/cameras",
        "/api/v1/cameras/test",
        "/api/v1/cameras/{camera_id}",
        "/api/v1/recordings/{camera_id}",
        "/api/v1/recordings/{camera_id}/{recording_id}",
    }
    problem = spec["paths"]["/api/v1/cameras"]["post"]["responses"]["422"]["content"]
    assert list(problem) == ["application/problem+json"]


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:9095", "", "[::1"])
async def test_a_foreign_host_name_is_refused_whatever_is_asked(api: Api, host: str) -> None:
    for path in ("/", "/health", "/api/v1/cameras"):
        reply = await api.client.get(path, headers={"Host": host})
        assert reply.status_code == 403
        assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9095", "127.0.0.1:9095", "[::1]:9095", "127.0.0.1:80"])
async def test_names_of_this_machine_are_answered(api: Api, host: str) -> None:
    assert (await api.client.get("/health", headers={"Host": host})).status_code == 200


async def test_a_page_of_another_site_cannot_change_anything(api: Api) -> None:
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        assert (await api.client.post("/api/v1/cameras", json=CAMERA, headers=headers)).status_code == 403
    assert (await api.client.get("/api/v1/cameras")).json()["items"] == []
    own = {"Origin": "http://localhost:9095", "Host": "localhost:9095"}
    assert (await api.client.post("/api/v1/cameras", json=CAMERA, headers=own)).status_code == 201


async def test_a_configured_origin_may_call_and_gets_cors_headers(tmp_path: Path) -> None:
    wall = "https://wall.example.lan"
    async with api_app(tmp_path, ApiSettings(cors_origins=(wall,))) as api:
        reply = await api.client.post("/api/v1/cameras", json=CAMERA, headers={"Origin": wall})
        assert reply.status_code == 201
        assert reply.headers["access-control-allow-origin"] == wall
        asked = {"Origin": wall, "Access-Control-Request-Method": "PATCH"}
        assert (await api.client.options("/api/v1/cameras/x", headers=asked)).status_code == 200
        other = await api.client.get("/api/v1/cameras", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_another_address_than_loopback_is_refused_unless_asked_for_by_name(tmp_path: Path) -> None:
    with pytest.raises(VmsError, match="allow_insecure_network") as caught:
        async with api_app(tmp_path, ApiSettings(host="192.0.2.7")):
            pass
    assert caught.value.kind is ErrorKind.INVALID
    async with api_app(tmp_path, ApiSettings(host="192.0.2.7", allow_insecure_network=True)) as api:
        assert (await api.client.get("/health", headers={"Host": "192.0.2.7:9095"})).status_code == 200
        assert (await api.client.get("/health", headers={"Host": "evil.example"})).status_code == 403


async def test_a_body_over_a_megabyte_is_refused_announced_or_not(api: Api) -> None:
    big = b"[" + b" " * (1 << 20) + b"]"

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 65536):
            yield big[start : start + 65536]

    headers = {"Content-Type": "application/json"}
    for content in (big, chunks()):
        reply = await api.client.post("/api/v1/cameras", content=content, headers=headers)
        assert reply.status_code == 413
        assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nonsense", 404),
        ("PUT", "/api/v1/cameras", 405),
        ("GET", "/api/v1/cameras/", 404),
        ("GET", "/static/../main.py", 404),
        ("GET", "/api/v1/cameras/a%20b", 422),
    ],
)
async def test_every_error_is_a_problem_document(api: Api, method: str, path: str, status: int) -> None:
    reply = await api.client.request(method, path)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert set(reply.json()) >= {"type", "title", "status", "detail", "kind"}
    assert reply.json()["status"] == status


async def test_a_body_that_is_not_json_is_400(api: Api) -> None:
    reply = await api.client.post("/api/v1/cameras", content=b"{", headers={"Content-Type": "application/json"})
    assert (reply.status_code, reply.json()["kind"]) == (400, "invalid")


async def test_a_bug_is_answered_without_its_details(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def crash(_camera_id: str) -> None:
        raise RuntimeError("secret path /root")

    monkeypatch.setattr(api.app.state.cameras, "get", crash)
    reply = await api.client.get("/api/v1/cameras/a")
    assert reply.status_code == 500
    assert reply.headers["content-type"] == "application/problem+json"
    assert "secret" not in reply.text


async def test_health_is_degraded_without_the_bus_and_failed_without_the_database(api: Api) -> None:
    api.projection.error = None
    assert (await api.client.get("/health")).json()["status"] == "ok"
    api.bus.connected = False
    reply = await api.client.get("/health")
    assert (reply.status_code, reply.json()["status"]) == (200, "degraded")
    assert reply.json()["checks"] == {"database": "ok", "bus": "not connected", "projection": "ok"}

    async def broken() -> str:
        return "the catalogue database does not answer"

    object.__setattr__(api.app.state.checks, "database", broken)
    reply = await api.client.get("/health")
    assert (reply.status_code, reply.json()["status"]) == (503, "failed")


async def test_metrics_are_in_the_format_of_prometheus(api: Api) -> None:
    reply = await api.client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    assert 'vms_api_cameras{state="online"} 0.0' in reply.text
    assert "vms_api_bus_connected 1.0" in reply.text
    assert "process_resident_memory_bytes" in reply.text
