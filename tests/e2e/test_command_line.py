"""The command line beside a running product: what it prints, its exit codes, how it refuses, what it keeps secret."""

import http.server
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from tests.support.cameras import CARS, GstCamera, asset
from tests.support.commands import clean_environment, command_line, refusal, run_vms, vms_command
from tests.support.product import Product, wait_for
from tests.support.services import free_port

USER, PASSWORD = "admin", "hunter2-geheim"


@pytest.fixture(scope="module")
def camera() -> Iterator[GstCamera]:
    """Not ours; asks for Digest authentication."""
    with GstCamera(asset(CARS), username=USER, password=PASSWORD, minutes=5) as gst:
        yield gst


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Product(tmp_path_factory.mktemp("product")) as running:
        yield running


@pytest.fixture(scope="module")
def recorded(product: Product, camera: GstCamera) -> str:
    """The id of a camera with some seconds on disk, added with its credentials in the URL."""
    camera_id = product.add_camera(camera.url().replace("//", f"//{USER}:{PASSWORD}@"), "[door] ünï")
    product.wait_frames(camera_id, 100)
    return camera_id


@pytest.fixture(scope="module")
def web_server() -> Iterator[int]:
    """The port of a server that speaks HTTP and no RTSP."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def table(done: CompletedProcess[str]) -> list[list[str]]:
    assert done.returncode == 0, done.stderr
    return [re.split(r" {2,}", line.strip()) for line in done.stdout.splitlines() if line.strip()]


# --- what it does ---------------------------------------------------------------------------------


def test_a_camera_is_added_listed_and_removed(product: Product, camera: GstCamera) -> None:
    added = product.cli("camera", "add", "Gate", camera.url(), "--username", USER, "--password", "-", "--container",
                        "mkv", "--json", text=f"{PASSWORD}\n")  # fmt: skip
    assert added.returncode == 0, added.stderr
    (row,) = json.loads(added.stdout)
    assert (row["name"], row["container"], row["has_credentials"]) == ("Gate", "mkv", True)
    assert PASSWORD not in added.stdout
    product.wait_state(row["id"], "online")

    listed = json.loads(product.cli("camera", "list", "--json").stdout)
    assert row["id"] in [item["id"] for item in listed]
    head, *rows = table(product.cli("camera", "list"))
    assert head[:3] == ["id", "name", "state"]
    (shown,) = [cells for cells in rows if cells[0] == row["id"]]
    assert shown[1:3] == ["Gate", "online"]

    removed = product.cli("camera", "remove", row["id"])
    assert (removed.returncode, removed.stdout) == (0, "")
    assert "recordings stay" in removed.stderr
    assert "no camera" in refusal(product.cli("camera", "remove", row["id"]))
    assert product.media_files(row["id"])[0].suffix == ".mkv"


def test_a_camera_is_tested_before_it_is_added(camera: GstCamera) -> None:
    arguments = ["camera", "test", camera.url(), "--username", USER, "--password", "-"]
    head, row = table(run_vms(arguments, text=PASSWORD))
    assert dict(zip(head, row, strict=True)) | {"server": ""} == {
        "url": camera.url(), "codec": "h264", "width": "768", "height": "432", "fps": "12.5", "server": "",
    }  # fmt: skip
    (info,) = json.loads(run_vms([*arguments, "--json"], text=PASSWORD).stdout)
    assert (info["width"], info["height"]) == (768, 432)


def test_recordings_are_listed_by_time_and_exported(product: Product, recorded: str, tmp_path: Path) -> None:
    rows = json.loads(product.cli("recordings", "list", recorded, "--json").stdout)
    assert rows
    assert rows[-1]["codec"] == "h264"
    assert table(product.cli("recordings", "list", recorded))[1][0] == rows[0]["id"]
    start, end = rows[0]["start"], rows[-1]["end"]
    inside = product.cli("recordings", "list", recorded, "--start", start, "--end", end, "--json")
    assert [row["id"] for row in json.loads(inside.stdout)] == [row["id"] for row in rows]
    before = product.cli("recordings", "list", recorded, "--end", "2020-01-01T00:00:00Z")
    assert (before.returncode, before.stdout) == (0, "")
    assert "Nothing is recorded" in before.stderr

    target = tmp_path / "clip.mp4"
    done = product.cli("export", recorded, "--start", start, "--end", end, "-o", target)
    assert done.returncode == 0, done.stderr
    probe = ["ffmpeg", "-v", "error", "-i", str(target), "-f", "null", "-"]
    played = subprocess.run(probe, capture_output=True, text=True, check=True, timeout=60)
    assert played.stderr == ""


def test_an_export_that_fails_leaves_no_file(product: Product, recorded: str, tmp_path: Path) -> None:
    past = ("--start", "2020-01-01T00:00:00Z", "--end", "2020-01-01T00:01:00Z", "-o")
    assert "nothing is recorded" in refusal(product.cli("export", recorded, *past, tmp_path / "clip.mp4"))
    row = json.loads(product.cli("recordings", "list", recorded, "--json").stdout)[0]
    there = ("--start", row["start"], "--end", row["end"], "-o")
    assert "cannot be written" in refusal(product.cli("export", recorded, *there, tmp_path / "missing" / "clip.mp4"))
    assert "not a time" in refusal(product.cli("export", recorded, "--start", "noon", *past[2:], tmp_path / "clip.mp4"))
    assert list(tmp_path.iterdir()) == []


def test_what_records_is_checked_while_it_records(product: Product, recorded: str) -> None:
    done = product.cli("storage", "check", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    assert product.status(recorded)["state"] == "online"


@pytest.mark.parametrize("service", ["ingest", "storage", "api"])
def test_one_service_runs_alone_and_ends_at_a_signal(service: str, tmp_path: Path) -> None:
    port = free_port()
    environment = clean_environment({f"VMS_{service.upper()}__PORT": str(port)})
    process = subprocess.Popen(
        vms_command(service, "--data-dir", tmp_path / "data"),
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        # Without a bus it says so, and serves.
        wait_for(lambda: process.poll() is not None or _listens(port), 30, f"{service} listens")
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=15)
        assert process.returncode == 0, log
        assert "Traceback" not in log
    finally:
        process.kill()
        process.communicate()


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(
    os.environ.get("VMS_TEST_FULL") != "1", reason="needs VMS_TEST_FULL=1: it takes a quarter of a minute"
)
def test_a_benchmark_prints_json(tmp_path: Path) -> None:
    options = ("--cameras", 1, "--seconds", 1, "--bitrate", 1, "--no-peers", "--work-dir", tmp_path, "--json", "-")
    done = run_vms(["bench", "ingest", *options], timeout_s=90)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["cameras"] == 1
    assert result["vms"]["frames_recorded"] == result["vms"]["frames_expected"]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("up", "--nonsense"),
        ("camera", "add", "Gate"),
        ("camera", "remove"),
        ("export", "cam_1"),
        ("recordings",),
        ("bench", "ingest", "--cameras", "many"),
        ("simulate",),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_and_says_how_to_get_help(arguments: tuple[str, ...]) -> None:
    done = run_vms(arguments)
    assert done.returncode == 2
    assert "Usage:" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


# --- how it refuses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://127.0.0.1/1", "must start with rtsp://"),
        ("rtsp://", "needs a host"),
        ("rtsp://camera.invalid/1", "cannot be resolved"),
        ("rtsp://127.0.0.1:{free}/1", "refuses connections"),
        ("rtsp://127.0.0.1:{http}/1", "not an RTSP"),
        ("rtsp://127.0.0.1:{camera}/cam0", "password"),
        ("rtsp://admin:wrong@127.0.0.1:{camera}/cam0", "password"),
        ("rtsp://admin:hunter2-geheim@127.0.0.1:{camera}/nothing", "404"),
        ("rtsp://admin:hunter2-geheim/x@127.0.0.1/cam0", "malformed"),
    ],
)
def test_a_camera_that_cannot_be_used_is_one_line_that_says_what_to_do(
    camera: GstCamera, web_server: int, address: str, says: str
) -> None:
    url = address.format(free=free_port(), http=web_server, camera=camera.port)
    line = refusal(run_vms(["camera", "test", url]))
    assert says in line
    assert PASSWORD not in line


@pytest.mark.parametrize(
    ("address", "state", "kind"),
    [
        ("rtsp://camera.invalid/1", "offline", "unreachable"),
        ("rtsp://127.0.0.1:{free}/1", "offline", "unreachable"),
        ("rtsp://127.0.0.1:{http}/1", "offline", "protocol"),
        ("rtsp://admin:wrong-geheim@127.0.0.1:{camera}/cam0", "auth_failed", "auth"),
        ("rtsp://admin:hunter2-geheim@127.0.0.1:{camera}/nothing", "offline", "not_found"),
    ],
)
def test_a_camera_that_cannot_be_used_has_a_state_and_a_reason(
    product: Product, camera: GstCamera, web_server: int, address: str, state: str, kind: str
) -> None:
    camera_id = product.add_camera(address.format(free=free_port(), http=web_server, camera=camera.port))
    try:
        status = product.wait_state(camera_id, state)
        assert status["last_error_kind"] == kind
        assert status["next_try"] is not None
        assert "\n" not in status["last_error"]
        assert "geheim" not in json.dumps(product.api("GET", f"/api/v1/cameras/{camera_id}"))
    finally:
        product.api("DELETE", f"/api/v1/cameras/{camera_id}")
    assert "Traceback" not in product.log


def test_nobody_at_the_address_of_the_api_says_how_to_start_it(web_server: int) -> None:
    assert "./vms up" in refusal(run_vms(["camera", "list", "--api", f"http://127.0.0.1:{free_port()}"]))
    foreign = f"http://127.0.0.1:{web_server}"
    assert "is that the address of this system?" in refusal(run_vms(["camera", "list", "--api", foreign]))
    assert PASSWORD not in refusal(run_vms(["camera", "list", "--api", foreign.replace("//", f"//{USER}:{PASSWORD}@")]))


def test_a_second_start_on_the_same_data_directory_is_refused_and_harms_nothing(
    product: Product, recorded: str
) -> None:
    frames = product.status(recorded)["frames_total"]
    done = run_vms(["up", "--data-dir", product.data_dir, "--no-demo"])
    assert "in use" in refusal(done)
    assert str(product.data_dir) in done.stderr
    product.wait_frames(recorded, frames + 13)
    assert json.loads(product.cli("storage", "check", "--json").stdout) == []


# --- secrets --------------------------------------------------------------------------------------


def test_credentials_are_nowhere_to_be_read(product: Product, camera: GstCamera, recorded: str) -> None:
    secret = "correct-horse-battery"  # of a camera that refuses it, so that errors are made of it too
    wrong = product.add_camera(f"rtsp://{USER}:{secret}@127.0.0.1:{camera.port}/cam0")
    product.wait_state(wrong, "auth_failed")
    bus_password = (product.data_dir / "nats" / "credentials").read_text().strip()
    secrets = [secret, PASSWORD, bus_password]

    said = {
        "log": product.log,
        "nats log": (product.data_dir / "nats" / "nats.log").read_text(),
        **{f"process {pid}": " ".join(command_line(pid)) for pid in product.all_pids()},
        **{path: product.get(f"{product.api_url}{path}").text for path in (
            "/", "/api/v1/cameras", f"/api/v1/cameras/{recorded}", f"/api/v1/cameras/{wrong}", "/api/v1/system",
            "/api/v1/recordings/" + recorded, "/openapi.json",
        )},
        **{
            f"{url}{path}": product.get(f"{url}{path}").text
            for url in (product.api_url, product.storage_url, product.ingest_url)
            for path in ("/metrics", "/health", "/status")
        },
        "camera list": product.cli("camera", "list", "--json").stdout,
    }  # fmt: skip
    assert [where for where, text in said.items() if any(word in text for word in secrets)] == []

    words = [word.encode() for word in secrets]
    holding = [path for path in product.data_dir.rglob("*") if path.is_file() and _holds(path, words)]
    assert holding  # or this looks at the wrong place
    assert [path for path in holding if _others_can_read(path, product.data_dir)] == []
    product.api("DELETE", f"/api/v1/cameras/{wrong}")


def _holds(path: Path, words: list[bytes]) -> bool:
    data = path.read_bytes()
    return any(word in data for word in words)


def _others_can_read(path: Path, top: Path) -> bool:
    """Whether its own mode, or a directory's between here and ``top``, keeps other users out."""
    directories = [parent for parent in path.parents if parent.is_relative_to(top) and parent != top]
    return bool(path.stat().st_mode & 0o044) and all(parent.stat().st_mode & 0o011 for parent in directories)
