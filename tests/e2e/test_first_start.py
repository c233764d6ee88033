"""A newcomer's first minute: one command in an empty folder, demo cameras recording, Ctrl-C."""

import os
import signal
import socket
import time
from pathlib import Path

from tests.support.commands import command_line
from tests.support.product import Product, wait_for

from vms.format.index import IndexView

# What was promised, on a machine with nothing else to do; the tests may share theirs with others.
STOP_LIMIT_S = 5.0
SECOND_START_LIMIT_S = 3.0
SHARED_MACHINE = 2.0


def is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def first_frame_after(data_dir: Path, moment_us: int) -> int | None:
    """Capture time of the first recorded frame of any camera since a moment."""
    starts = [
        record.wall_start_us
        for index in data_dir.glob("cameras/*/*/index_*.vms-idx")
        for record in IndexView.load(index).valid_prefix()
        if record.wall_start_us >= moment_us
    ]
    return min(starts, default=None)


def test_an_empty_folder_becomes_demo_cameras_that_record_and_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    product = Product(tmp_path, demo=None)
    with product:
        for url in (f"{product.api_url}/", f"{product.api_url}/docs", f"{product.ingest_url}/metrics"):
            assert product.get(url).status_code == 200
            assert url.replace("127.0.0.1", "localhost") in product.log
        assert str(product.data_dir) in product.log
        cameras = product.api("GET", "/api/v1/cameras")["items"]
        assert [camera["id"] for camera in cameras] == ["demo-1", "demo-2"]
        for camera in cameras:
            product.wait_state(camera["id"], "online")
            assert camera["url"] in product.log
        wait_for(lambda: len(list(product.data_dir.glob("cameras/*/*/video_*.mp4"))) == 2, 10, "both have a file")
        assert "offline" not in product.log
        assert set(product.pids()) == {"ingest", "storage", "api", "nats-server", "simulate"}
        ports = [*product.ports.values(), int(cameras[0]["url"].split(":")[2].split("/")[0])]
        # A terminal sends Ctrl-C to the whole foreground process group.
        os.killpg(product.pid, signal.SIGINT)
        product.wait_end()
    assert product.exit_code == 0
    assert product.stop_s is not None
    assert product.stop_s < STOP_LIMIT_S
    assert product.all_pids() == []
    assert [port for port in ports if not is_free(port)] == []
    assert "Traceback" not in product.log
    assert "offline" not in product.log  # not even while it stops

    stopped_us = time.time_ns() // 1000
    with product:
        found_us = wait_for(lambda: first_frame_after(product.data_dir, stopped_us), 20, "a frame of the second start")
        assert (found_us - stopped_us) / 1e6 < SECOND_START_LIMIT_S * SHARED_MACHINE
        # The demo cameras are the same ones, not two more.
        assert len(product.api("GET", "/api/v1/cameras")["items"]) == 2


def test_a_child_that_dies_is_started_again_and_none_outlives_vms_up(tmp_path: Path) -> None:
    with Product(tmp_path) as product:
        assert len(product.all_pids()) == 5
        old = product.kill("api")
        new = product.wait_replaced("api", old)
        assert command_line(new)[3] == "api"
        wait_for(lambda: product.answers(product.api_url), 15, "the API answers again")
        os.kill(product.pid, signal.SIGKILL)
        wait_for(lambda: product.all_pids() == [], 10, "the children notice that vms up is gone")
        product.kill_everything()
