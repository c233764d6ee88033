import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.cli import vms
from tests.support.services import free_port

from vms.cli import simulate
from vms.media.rtsp.url import Credentials
from vms.media.simulate import SimulatorSettings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[SimulatorSettings]:
    """What would have been served."""
    settings: list[SimulatorSettings] = []
    monkeypatch.setattr(simulate, "_serve", settings.append)
    return settings


def test_the_options_are_the_simulators_settings(
    served: list[SimulatorSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = "--cameras 4 --port 9000 --host 0.0.0.0 --bitrate 1.5 --fps 10 --size 640x360 --username u --password p"
    assert vms(monkeypatch, "simulate", "pattern", *options.split()).code == 0
    assert served == [
        SimulatorSettings(
            file=None,
            cameras=4,
            host="0.0.0.0",  # noqa: S104 - nothing is bound here
            port=9000,
            credentials=Credentials("u", "p"),
            width=640,
            height=360,
            fps=10,
            bitrate_bps=1_500_000,
        )
    ]


def test_anything_but_pattern_is_a_file(served: list[SimulatorSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    assert vms(monkeypatch, "simulate", "clip.mp4").code == 0
    assert (served[0].file, served[0].credentials) == (Path("clip.mp4"), None)


@pytest.mark.parametrize("size", ["720", "x720", "1280x", "1280*720", "0x0", "-1x5", "²x²", ""])
def test_what_is_no_size_says_how_to_write_one(
    size: str, served: list[SimulatorSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = vms(monkeypatch, "simulate", "pattern", f"--size={size}")
    assert (done.code, done.err) == (1, f"vms: '{size}' is not a size: write it like 1280x720\n")
    assert served == []


def test_a_file_that_is_no_video_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clip.mp4").write_text("no video")
    for name in ("clip.mp4", "missing.mp4"):
        done = vms(monkeypatch, "simulate", tmp_path / name, "--port", free_port())
        assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
        assert simulate.main([str(tmp_path / name), "--port", str(free_port())]) == 1


def test_a_port_in_use_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = vms(monkeypatch, "simulate", "pattern", "--port", port, "--size", "160x120")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert str(port) in done.err


def test_as_a_child_it_says_when_it_is_ready_and_ends_with_sigterm() -> None:
    command = [sys.executable, "-m", "vms.cli.simulate", "pattern", "--cameras", "2", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("ready rtsp://127.0.0.1:")
        assert line.endswith("/cam0 … cam1\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_a_child_takes_no_options_that_it_does_not_know() -> None:
    with pytest.raises(SystemExit) as caught:
        simulate.main(["pattern", "--fly"])
    assert caught.value.code == 2
