"""Demo cameras: a simulator of our own, so that a newcomer sees pictures without owning a camera."""

import contextlib
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vms.cli import client
from vms.cli.processes import ProcessSpec, python_module

_FILE: Final = "demo.json"
_IDS: Final = frozenset({"demo-1", "demo-2"})
_PREFERRED_PORT: Final = 9554


@dataclass(frozen=True, slots=True)
class DemoCameras:
    """The simulator's port and the cameras that point at it."""

    port: int
    ids: tuple[str, ...]

    def urls(self) -> list[str]:
        """Where the demo cameras are."""
        return [f"rtsp://127.0.0.1:{self.port}/cam{n}" for n in range(len(self.ids))]

    def spec(self) -> ProcessSpec:
        """The simulator process that serves them."""
        arguments = ("pattern", "--cameras", str(len(self.ids)), "--port", str(self.port))
        return ProcessSpec("simulate", python_module("vms.cli.simulate", *arguments))


def remembered(data_dir: Path) -> DemoCameras | None:
    """The demo cameras of the last run, if their port is still free: they start before anything else does."""
    try:
        data = json.loads((data_dir / _FILE).read_text())
        cameras = DemoCameras(port=int(data["port"]), ids=tuple(str(i) for i in data["ids"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return cameras if cameras.ids and _free(cameras.port) else None


def choose(api: str, data_dir: Path, wanted: bool | None, running: DemoCameras | None) -> DemoCameras | None:
    """The demo cameras to serve, if any; forgets them where somebody removed them.

    ``wanted``: True always, False never, None only while no camera is configured; then those that are left go on.
    """
    existing = _cameras(api)
    if wanted is False or (wanted is None and not _IDS & existing.keys() and existing):
        (data_dir / _FILE).unlink(missing_ok=True)
        return None
    return running or DemoCameras(port=_choose_port(), ids=tuple(sorted(_IDS)))


def register(api: str, data_dir: Path, wanted: bool | None, demo: DemoCameras) -> None:
    """Create the demo cameras where they are wanted, and point those that are left at the port that is served now."""
    existing = _cameras(api)
    may_create = wanted is True or not existing
    for camera_id, url in zip(demo.ids, demo.urls(), strict=True):
        if may_create or camera_id in existing:
            _point(api, existing.get(camera_id), camera_id, url)
    with contextlib.suppress(OSError):  # a full disk: the next start asks the API again, and takes a moment longer
        (data_dir / _FILE).write_text(json.dumps({"port": demo.port, "ids": demo.ids}))


def _cameras(api: str) -> dict[str, dict[str, Any]]:
    return {str(camera["id"]): camera for camera in client.pages(f"{api}/api/v1/cameras")}


def _point(api: str, existing: dict[str, Any] | None, camera_id: str, url: str) -> None:
    if existing is None:
        name = f"Demo camera {camera_id.rpartition('-')[2]}"
        client.call("POST", f"{api}/api/v1/cameras", {"id": camera_id, "name": name, "url": url, "retention_days": 1})
    elif existing["url"] != url:
        client.call("PATCH", f"{api}/api/v1/cameras/{camera_id}", {"url": url})


def _choose_port() -> int:
    if _free(_PREFERRED_PORT):
        return _PREFERRED_PORT
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
        return True
