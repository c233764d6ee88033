"""The whole product as its users run it: ``vms up`` in a process of its own, on ports and a directory of its own."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
from tests.support.commands import clean_environment, command_line, run_vms, vms_command
from tests.support.services import free_port

_MARK = "TEST_PRODUCT"  # environment variable that every process of one product inherits
_READY = "VMS Enterprise is running"
_POLL_S = 0.05

T = TypeVar("T")


def wait_for(probe: Callable[[], T | None], timeout_s: float, what: str) -> T:
    """The first result of ``probe`` that is neither None nor False; fails the test when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = probe()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(_POLL_S)  # another process has no event to wait for


class Product:
    """``with Product(directory) as product``: running and ready inside, and gone behind, whatever happened.

    ``settings`` are environment variables such as ``{"VMS_INGEST__ROTATION_S": 20}``. Data lies in
    ``directory/data``. The same object entered again goes on with it, on the same ports. ``demo``: as its option, None
    for neither of both.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: object,
        settings: Mapping[str, object] | None = None,
        demo: bool | None = False,
        ready_timeout_s: float = 60,
    ) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.ports = {name: free_port() for name in ("ingest", "storage", "api", "bus")}
        self.stop_s: float | None = None  # how long the last stop took
        self.exit_code: int | None = None
        self._arguments = arguments
        self._settings = settings or {}
        self._demo = demo
        self._ready_timeout_s = ready_timeout_s
        self._mark = uuid.uuid4().hex
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._lines: list[str] = []

    # --- running it -------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._process is not None:
                self.stop()
        finally:
            self.kill_everything()
            if kind is not None:
                self._show_log()

    def start(self) -> None:
        """Start it; ready when this returns."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lines.clear()
        demo = [] if self._demo is None else ["--demo" if self._demo else "--no-demo"]
        self._process = subprocess.Popen(
            vms_command("up", "--data-dir", self.data_dir, *demo, *self._arguments),
            env=self.environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        process = self._process
        try:
            wait_for(lambda: _READY in self.log or process.poll() is not None, self._ready_timeout_s, "vms up is ready")
            assert _READY in self.log, f"vms up ended with exit code {process.poll()}"
        except BaseException:
            self.kill_everything()
            self._show_log()
            raise

    def stop(self, sig: int = signal.SIGINT, timeout_s: float = 15) -> float:
        """Ctrl-C; returns how many seconds it took until ``vms up`` had ended."""
        os.kill(self.pid, sig)
        return self.wait_end(timeout_s)

    def wait_end(self, timeout_s: float = 15) -> float:
        """Return when ``vms up`` has ended, and how long that took; somebody has asked it to."""
        process = self._process
        assert process is not None
        assert self._reader is not None
        begin = time.monotonic()
        try:
            self.exit_code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"vms up has not ended {timeout_s:.0f} s after a signal") from None
        finally:
            self._process = None
            self.stop_s = time.monotonic() - begin
            if process.poll() is None:
                process.kill()
                process.wait()
            self._reader.join(5)
            assert process.stdout is not None
            process.stdout.close()
        return self.stop_s

    def kill_everything(self) -> None:
        """kill -9 to every process of this product that is left."""
        process, self._process = self._process, None
        for pid in self.all_pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if process is not None:
            process.kill()
            process.wait()
            if self._reader is not None:
                self._reader.join(5)
            assert process.stdout is not None
            process.stdout.close()

    def _show_log(self) -> None:
        sys.stdout.write(f"--- log of vms up in {self.directory} ---\n{self.log}")  # pytest shows it with the failure

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with suppress(ValueError):  # closed while being read
            for line in process.stdout:
                self._lines.append(line)

    @property
    def environment(self) -> dict[str, str]:
        """What its processes, and commands that talk to it, run with."""
        ports = {f"VMS_{name.upper()}__PORT": str(port) for name, port in self.ports.items()}
        # Tests wait for what a camera's status says: not ten seconds each time.
        often = {"VMS_INGEST__STATUS_INTERVAL_S": "1"}
        settings = {name: str(value) for name, value in self._settings.items()}
        own = {"VMS_API_URL": self.api_url, "VMS_STORAGE_URL": self.storage_url, _MARK: self._mark}
        return clean_environment({**ports, **often, **own, **settings})

    @property
    def log(self) -> str:
        """Everything its processes have printed since the start."""
        return "".join(list(self._lines))

    def wait_log(self, text: str, timeout_s: float = 10) -> None:
        """Return when ``text`` has been printed."""
        wait_for(lambda: text in self.log, timeout_s, f"'{text}' in the log")

    # --- its processes ----------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Of ``vms up`` itself."""
        assert self._process is not None
        return self._process.pid

    def pids(self) -> dict[str, int]:
        """Running children by name: ingest, storage, api, nats-server, simulate."""
        found = {}
        for pid in self.all_pids():
            words = command_line(pid)
            for name in ("ingest", "storage", "api"):
                if words[1:4] == ["-m", "vms.cli.service_process", name]:
                    found[name] = pid
            if words[1:3] == ["-m", "vms.cli.simulate"]:
                found["simulate"] = pid
            if words and Path(words[0]).name == "nats-server":
                found["nats-server"] = pid
        return found

    def all_pids(self) -> list[int]:
        """Every process that was started by this product, directly or not, and has not ended."""
        mark = f"{_MARK}={self._mark}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):  # it ended meanwhile, or is another user's
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def kill(self, name: str, sig: int = signal.SIGKILL) -> int:
        """Signal a child; returns the pid that it had."""
        pid = self.pids()[name]
        os.kill(pid, sig)
        return pid

    def wait_replaced(self, name: str, old_pid: int, timeout_s: float = 15) -> int:
        """The pid of the child that ``vms up`` started in place of ``old_pid``."""

        def new_pid() -> int | None:
            pid = self.pids().get(name)
            return pid if pid != old_pid else None

        return wait_for(new_pid, timeout_s, f"{name} is started again")

    # --- talking to it ----------------------------------------------------------------------------

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['api']}"

    @property
    def storage_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['storage']}"

    @property
    def ingest_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['ingest']}"

    def api(self, method: str, path: str, body: object | None = None) -> Any:
        """JSON of a reply of the API; anything but success fails the test."""
        reply = httpx.request(method, f"{self.api_url}{path}", json=body, timeout=15, trust_env=False)
        assert reply.is_success, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply.json() if reply.content else None

    def answers(self, url: str) -> bool:
        """Whether a service answers at all."""
        try:
            return self.get(f"{url}/health").is_success
        except httpx.TransportError:
            return False

    def get(self, url: str, **query: str) -> httpx.Response:
        """Any reply of any service."""
        return httpx.get(url, params=query or None, timeout=30, trust_env=False)

    def add_camera(self, url: str, name: str = "Camera", **fields: object) -> str:
        """Add a camera; returns its id."""
        return str(self.api("POST", "/api/v1/cameras", {"name": name, "url": url, **fields})["id"])

    def status(self, camera_id: str) -> dict[str, Any]:
        """The ``status`` of a camera as the API tells it."""
        return dict(self.api("GET", f"/api/v1/cameras/{camera_id}")["status"])

    def wait_state(self, camera_id: str, state: str, timeout_s: float = 20) -> dict[str, Any]:
        """Its status as soon as the camera is in a state; ``recording`` too when that is ``online``."""

        def reached() -> dict[str, Any] | None:
            status = self.status(camera_id)
            return status if status["state"] == state and (state != "online" or status["recording"]) else None

        return wait_for(reached, timeout_s, f"camera {camera_id} is {state}")

    def wait_frames(self, camera_id: str, frames: int, timeout_s: float = 60) -> dict[str, Any]:
        """Its status as soon as that many frames of this session of ingest have arrived."""

        def reached() -> dict[str, Any] | None:
            status = self.status(camera_id)
            return status if status["frames_total"] >= frames else None

        return wait_for(reached, timeout_s, f"camera {camera_id} has sent {frames} frames")

    def recordings(self, camera_id: str) -> list[dict[str, Any]]:
        """What the API lists of a camera, newest last."""
        items: list[dict[str, Any]] = self.api("GET", f"/api/v1/recordings/{camera_id}?limit=500")["items"]
        return sorted(items, key=lambda item: str(item["start"]))

    def media_files(self, camera_id: str) -> list[Path]:
        """Its media files on disk in order of time: date, hour, number."""
        found = (self.data_dir / "cameras" / camera_id).glob("*/video_*.*")
        return sorted(found, key=lambda path: (path.parent.name, path.stem[6:8], int(path.stem[9:] or 0)))

    def cli(self, *arguments: object, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """One ``vms`` command that talks to this product."""
        environment = {name: value for name, value in self.environment.items() if name != _MARK}
        environment["VMS_DATA_DIR"] = str(self.data_dir)
        return run_vms(arguments, environment=environment, cwd=self.directory, text=text)
