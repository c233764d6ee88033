"""Cameras for end-to-end tests: gst-rtsp-server, which we did not write, and our own simulator, as processes."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Self

import pytest
from tests.support.commands import clean_environment, vms_command
from tests.support.product import wait_for
from tests.support.services import free_port

_SHARED = Path(__file__).resolve().parents[2].parent / "shared"
VIDEO = _SHARED / "assets" / "video"
_CAMERA = _SHARED / "tools" / "rtsp_camera.py"
_SYSTEM_PYTHON = "/usr/bin/python3"  # the one that has gi

CARS = "car-detection.mp4"  # H.264 Baseline, 768×432, 12.5 fps, 377 frames
BOTTLES = "bottle-detection.mp4"  # H.264 High, 640×360, 29.83 fps, 1189 frames
PETS = "pets09-s2l1_480x360_10fps.mp4"  # H.264 Main, 480×360, 10 fps, 795 frames


def asset(name: str) -> Path:
    """A clip of the assets; skips the test where they are absent."""
    path = VIDEO / name
    if not path.exists():
        pytest.skip(f"needs {path}, which is not part of the repository")
    return path


def h265_clip(directory: Path, source: str = CARS, *, seconds: float = 8, fps: int = 25) -> Path:
    """A clip of the assets as H.265, made by x265, with B-frames as its default settings make them."""
    target = directory / "h265.mp4"
    _ffmpeg("-i", asset(source), "-t", seconds, "-an", "-r", fps, "-c:v", "libx265", "-preset", "ultrafast",
            "-x265-params", "keyint=50:bframes=3:log-level=error", "-tag:v", "hvc1", target)  # fmt: skip
    return target


def without_end(clip: Path, minutes: float, directory: Path) -> Path:
    """The clip looped into a Matroska file without re-encoding, as the camera serves it."""
    target = directory / f"{clip.stem}-looped.mkv"
    _ffmpeg("-stream_loop", 1 + int(minutes * 60 / 8), "-i", clip, "-t", minutes * 60, "-c", "copy", "-an", target)
    return target


def _ffmpeg(*arguments: object) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *(str(a) for a in arguments)], check=True, timeout=120)


class _Server:
    """A process that prints "ready" and serves ``rtsp://127.0.0.1:{port}/cam{n}``."""

    def __init__(self, command: list[str], port: int, environment: dict[str, str] | None = None) -> None:
        self.port = port
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self._lines: list[str] = []
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def url(self, number: int = 0) -> str:
        """Of one camera."""
        return f"rtsp://127.0.0.1:{self.port}/cam{number}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, timeout_s: float = 30) -> None:
        """Start it, at the same port as before; it serves when this returns."""
        assert self._process is None
        self._lines = []
        process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._process = process
        self._reader = threading.Thread(target=self._read, args=(process, self._lines), daemon=True)
        self._reader.start()
        try:
            wait_for(lambda: self._is_ready() or process.poll() is not None, timeout_s, "the camera is ready")
            assert self._is_ready(), f"the camera ended: {''.join(self._lines)}"
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """SIGTERM: it closes its connections."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9: the connections break."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and say nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def _is_ready(self) -> bool:
        return any(line.startswith("ready ") for line in list(self._lines))

    @staticmethod
    def _read(process: subprocess.Popen[str], lines: list[str]) -> None:
        assert process.stdout is not None
        with suppress(ValueError):
            lines.extend(process.stdout)

    def _end(self, sig: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sig)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self._reader is not None:
            self._reader.join(5)
        assert process.stdout is not None
        process.stdout.close()


class GstCamera(_Server):
    """gst-rtsp-server with a clip, looped: N cameras on one port. Skips the test where it cannot run."""

    def __init__(
        self,
        clip: Path,
        *,
        cameras: int = 1,
        username: str | None = None,
        password: str = "",
        auth: str = "digest",
        minutes: float = 10,
        port: int | None = None,
    ) -> None:
        _need_gst_rtsp_server()
        port = port or free_port()
        command = [_SYSTEM_PYTHON, str(_CAMERA), str(clip), "--port", str(port)]
        command += ["--cameras", str(cameras), "--minutes", str(minutes)]
        if username is not None:
            command += ["--user", username, "--password", password, "--auth", auth]
        # It loops the clip into a temporary file, which nobody removes when it is killed.
        self._scratch = tempfile.TemporaryDirectory(prefix="camera-")
        super().__init__(command, port, clean_environment({"TMPDIR": self._scratch.name}))

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._scratch.cleanup()


class Simulator(_Server):
    """``vms simulate``: the generated scene, or a file looped; sizes and rates as its options."""

    def __init__(
        self,
        source: Path | str = "pattern",
        *,
        cameras: int = 1,
        port: int | None = None,
        username: str | None = None,
        password: str = "",
        options: tuple[str, ...] = (),
    ) -> None:
        port = port or free_port()
        arguments = ["simulate", str(source), "--cameras", str(cameras), "--port", str(port), *options]
        if username is not None:
            arguments += ["--username", username]
        super().__init__(vms_command(*arguments), port, clean_environment({"VMS_CAMERA_PASSWORD": password}))


@lru_cache(maxsize=1)
def _gst_missing() -> str | None:
    if not _CAMERA.exists():
        return f"needs {_CAMERA}, which is not part of the repository"
    if shutil.which("ffmpeg") is None:
        return "needs ffmpeg"
    check = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    found = subprocess.run([_SYSTEM_PYTHON, "-c", check], capture_output=True, check=False, timeout=30)
    return None if found.returncode == 0 else "needs python3-gi and gir1.2-gst-rtsp-server-1.0"


def _need_gst_rtsp_server() -> None:
    reason = _gst_missing()
    if reason is not None:
        pytest.skip(reason)
