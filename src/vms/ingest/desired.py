"""Which cameras this worker should record, on disk: it starts recording before, and without, bus and database."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from vms.common.camera import CameraConfig
from vms.common.types import CameraId
from vms.telemetry.logging import get_logger

_log = get_logger("vms.ingest.desired")


def load_desired(path: Path) -> dict[CameraId, CameraConfig]:
    """The cameras of the last run; a missing or damaged file means none, and the bus will tell."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        cameras = [CameraConfig.model_validate(row) for row in rows]
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, ValidationError, TypeError):
        _log.warning("last cameras unreadable", path=str(path), action="waiting for the bus")
        return {}
    return {camera.id: camera for camera in cameras}


def save_desired(path: Path, cameras: Mapping[CameraId, CameraConfig]) -> None:
    """Replace the file in one step. It holds passwords: readable for this user alone."""
    text = json.dumps([camera.model_dump(mode="json") for camera in cameras.values()])
    partial = path.with_suffix(".part")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(path)
