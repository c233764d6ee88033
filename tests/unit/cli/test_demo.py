import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.services import free_port
from tests.support.web_stub import Reply, WebStub, web_stub

from vms.cli import demo
from vms.cli.demo import DemoCameras

IDS = ("demo-1", "demo-2")


@pytest.fixture
def web() -> Iterator[WebStub]:
    with web_stub() as stub:
        for method in ("POST /api/v1/cameras", *(f"PATCH /api/v1/cameras/{name}" for name in IDS)):
            stub.replies[method] = Reply({})
        configured(stub)
        yield stub


def configured(web: WebStub, *cameras: dict[str, Any]) -> None:
    web.replies["GET /api/v1/cameras"] = Reply({"items": list(cameras)})


def camera(name: str, url: str = "rtsp://192.0.2.1/x") -> dict[str, Any]:
    return {"id": name, "url": url}


def changes(web: WebStub) -> list[str]:
    return [line for line in web.lines if not line.startswith("GET")]


def test_demo_cameras_are_served_by_a_simulator_of_our_own() -> None:
    cameras = DemoCameras(9000, IDS)
    assert cameras.urls() == ["rtsp://127.0.0.1:9000/cam0", "rtsp://127.0.0.1:9000/cam1"]
    assert cameras.spec().arguments[1:] == (*("-m", "vms.cli.simulate", "pattern", "--cameras", "2", "--port", "9000"),)


def test_without_any_camera_both_are_created_and_remembered(web: WebStub, tmp_path: Path) -> None:
    cameras = demo.choose(web.url, tmp_path, None, None)
    assert cameras is not None
    assert cameras.ids == IDS
    demo.register(web.url, tmp_path, None, cameras)
    bodies = [request.body for request in web.asked if request.method == "POST"]
    assert [(body["id"], body["name"], body["url"]) for body in bodies] == [
        ("demo-1", "Demo camera 1", cameras.urls()[0]),
        ("demo-2", "Demo camera 2", cameras.urls()[1]),
    ]
    assert demo.remembered(tmp_path) == cameras


@pytest.mark.parametrize(
    ("existing", "wanted", "outcome"),
    [
        ([], None, "served"),
        ([], True, "served"),
        ([], False, "forgotten"),
        (["front"], None, "forgotten"),
        (["front"], True, "served"),
        (["front", "demo-1"], None, "served"),
        (["demo-1", "demo-2"], False, "forgotten"),
    ],
)
def test_they_are_served_where_they_are_wanted_and_forgotten_elsewhere(
    existing: list[str], wanted: object, outcome: str, web: WebStub, tmp_path: Path
) -> None:
    (tmp_path / "demo.json").write_text(json.dumps({"port": free_port(), "ids": IDS}))
    configured(web, *(camera(name) for name in existing))
    assert wanted is None or isinstance(wanted, bool)
    cameras = demo.choose(web.url, tmp_path, wanted, None)
    assert ("served" if cameras else "forgotten") == outcome
    assert (tmp_path / "demo.json").exists() == (outcome == "served")
    assert changes(web) == []


def test_a_demo_camera_that_somebody_removed_does_not_come_back_by_itself(web: WebStub, tmp_path: Path) -> None:
    cameras = DemoCameras(9000, IDS)
    configured(web, camera("demo-1", cameras.urls()[0]))
    demo.register(web.url, tmp_path, None, cameras)
    assert changes(web) == []
    demo.register(web.url, tmp_path, True, cameras)
    assert changes(web) == ["POST /api/v1/cameras"]


def test_cameras_at_another_port_are_pointed_at_the_one_that_is_served_now(web: WebStub, tmp_path: Path) -> None:
    cameras = DemoCameras(9000, IDS)
    configured(web, camera("demo-1", cameras.urls()[0]), camera("demo-2", "rtsp://127.0.0.1:1/cam1"))
    demo.register(web.url, tmp_path, None, cameras)
    assert changes(web) == ["PATCH /api/v1/cameras/demo-2"]
    assert web.asked[-1].body == {"url": "rtsp://127.0.0.1:9000/cam1"}


def test_a_full_disk_costs_only_the_memory(web: WebStub, tmp_path: Path) -> None:
    demo.register(web.url, tmp_path / "missing", None, DemoCameras(9000, IDS))
    assert len(changes(web)) == 2


DAMAGED = ["", "[]", "{}", '{"port": "x", "ids": []}', '{"port": 1, "ids": 5}', '{"port": 70000, "ids": ["a"]}', "\xff"]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_memory_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text(text, encoding="latin-1")
    assert demo.remembered(tmp_path) is None


def test_a_port_that_is_taken_is_not_used_again(web: WebStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "demo.json").write_text(json.dumps({"port": port, "ids": IDS}))
        assert demo.remembered(tmp_path) is None
        monkeypatch.setattr(demo, "_PREFERRED_PORT", port)
        cameras = demo.choose(web.url, tmp_path, None, None)
        assert cameras is not None
        assert cameras.port not in {0, port}
