import json
from collections.abc import Iterator

import pytest
from tests.support.cli import vms
from tests.support.services import free_port
from tests.support.web_stub import Reply, WebStub, web_stub

CAMERA = {
    "id": "cam_1",
    "name": "Door [east] :smile:",
    "url": "rtsp://192.0.2.1/x",
    "status": {"state": "online", "fps": 25.04, "bitrate_bps": 4_200_000, "width": 1920, "height": 1080},
}
SECRET = "s3cr3t"


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebStub]:
    """An API, which all commands of a test find by the environment."""
    monkeypatch.delenv("VMS_CAMERA_PASSWORD", raising=False)
    with web_stub() as stub:
        monkeypatch.setenv("VMS_API_URL", stub.url)
        stub.replies["POST /api/v1/cameras"] = Reply(CAMERA, 201)
        yield stub


def test_a_camera_is_added_with_all_that_was_said_of_it(web: WebStub, monkeypatch: pytest.MonkeyPatch) -> None:
    done = vms(
        monkeypatch,
        *("camera", "add", "Door", "rtsp://192.0.2.1/x", "-u", "admin", "-p", SECRET),
        *("--container", "mkv", "--retention-days", "7"),
    )
    assert (done.code, done.err) == (0, "")
    assert done.out == "cam_1  Door [east] :smile:  rtsp://192.0.2.1/x\n"
    assert web.asked[0].body == {
        "name": "Door",
        "url": "rtsp://192.0.2.1/x",
        "username": "admin",
        "password": SECRET,
        "container": "mkv",
        "retention_days": 7,
    }


@pytest.mark.parametrize("how", ["stdin", "environment"])
def test_a_password_can_stay_out_of_the_process_list(web: WebStub, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "environment":
        monkeypatch.setenv("VMS_CAMERA_PASSWORD", SECRET)
    option = ["-p", "-"] if how == "stdin" else []
    done = vms(monkeypatch, "camera", "add", "Door", "rtsp://h/x", *option, stdin=f"{SECRET}\nrest")
    assert done.code == 0
    assert web.asked[0].body["password"] == SECRET
    assert SECRET not in done.out + done.err


def test_what_was_not_said_is_left_to_the_api(web: WebStub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert vms(monkeypatch, "camera", "add", "Door", "rtsp://h/x", "--json").code == 0
    assert web.asked[0].body == {"name": "Door", "url": "rtsp://h/x", "container": "mp4"}


def test_a_refusal_is_one_line_and_exit_code_1(web: WebStub, monkeypatch: pytest.MonkeyPatch) -> None:
    web.replies["POST /api/v1/cameras"] = Reply({"errors": [{"field": "url", "message": "must be rtsp"}]}, 422)
    done = vms(monkeypatch, "camera", "add", "Door", "http://h/x", "-p", SECRET)
    assert (done.code, done.out, done.err) == (1, "", "vms: url: must be rtsp\n")


def test_no_api_is_one_line_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    done = vms(monkeypatch, "camera", "list", "--api", f"http://127.0.0.1:{free_port()}")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "./vms up" in done.err


@pytest.mark.parametrize("arguments", [["add", "Door"], ["add", "a", "b", "--port", "1"], ["remove"], ["fly"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    done = vms(monkeypatch, "camera", *arguments)
    assert (done.code, done.out) == (2, "")
    assert "Usage:" in done.err


def test_a_list_shows_names_as_they_are_one_camera_a_line(web: WebStub, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"id": "cam_2", "name": "new", "url": "rtsp://h/" + "x" * 200, "status": None}
    web.replies["/api/v1/cameras"] = Reply({"items": [CAMERA, plain], "next_cursor": None})
    done = vms(monkeypatch, "camera", "list")
    header, first, second = done.out.splitlines()
    assert header.split() == ["id", "name", "state", "fps", "mbit", "s", "resolution", "url", "last", "error"]
    shown = ["online", "25.0", "4.2", "1920x1080", CAMERA["url"], "-"]
    assert first.split() == ["cam_1", "Door", "[east]", ":smile:", *shown]
    assert second.split() == ["cam_2", "new", "-", "-", "0.0", "-", plain["url"], "-"]


def test_a_list_as_json_is_what_the_api_said(web: WebStub, monkeypatch: pytest.MonkeyPatch) -> None:
    web.replies["/api/v1/cameras"] = Reply({"items": [CAMERA], "next_cursor": None})
    assert json.loads(vms(monkeypatch, "camera", "list", "--json").out) == [CAMERA]


def test_an_empty_list_says_how_to_add_a_camera_and_as_json_nothing_but_the_list(
    web: WebStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.replies["/api/v1/cameras"] = Reply({"items": []})
    done = vms(monkeypatch, "camera", "list")
    assert (done.code, done.out) == (0, "")
    assert "vms camera add" in done.err
    assert json.loads(vms(monkeypatch, "camera", "list", "--json").out) == []


def test_a_camera_is_removed_by_its_id_and_nothing_else_can_be(web: WebStub, monkeypatch: pytest.MonkeyPatch) -> None:
    web.replies["DELETE /api/v1/cameras/cam_1"] = Reply(b"", 204)
    assert vms(monkeypatch, "camera", "remove", "cam_1").code == 0
    assert vms(monkeypatch, "camera", "remove", "../recordings/a b").code == 1
    assert web.lines == ["DELETE /api/v1/cameras/cam_1", "DELETE /api/v1/cameras/..%2Frecordings%2Fa%20b"]


def test_testing_a_camera_that_does_not_answer_is_one_line_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = vms(monkeypatch, "camera", "test", f"rtsp://127.0.0.1:{free_port()}/x", "-u", "admin", "-p", SECRET)
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert SECRET not in done.err


def test_testing_what_is_no_camera_url_says_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    done = vms(monkeypatch, "camera", "test", "http://192.0.2.1/x")
    assert (done.code, done.err.startswith("vms: the URL must start with rtsp://")) == (1, True)
