"""Where a camera's recording ended, from its newest index: asked once, when its recorder starts."""

from pathlib import Path

from vms.common.errors import VmsError
from vms.common.types import CameraId
from vms.format import layout
from vms.format.index import IndexView


def latest_end_us(root: Path, camera_id: CameraId) -> int | None:
    """Wall time at which the newest recording of a camera ends; None when there is none or it cannot be read."""
    directory = root / layout.camera_directory(camera_id)
    try:
        days = sorted((day for day in directory.iterdir() if layout.is_date(day.name)), reverse=True)
        for day in days:
            ends = [end for path in day.glob(f"*{layout.INDEX_SUFFIX}") if (end := _end_us(path)) is not None]
            if ends:
                return max(ends)
    except OSError:
        return None
    return None


def _end_us(index_path: Path) -> int | None:
    try:
        records = IndexView.load(index_path)
    except VmsError:
        return None
    return records[-1].wall_end_us if len(records) else None
