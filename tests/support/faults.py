"""What the fault tests share: full length or short, figures, a process's memory, and the proof that files are whole."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tests.support.cameras import CARS, asset
from tests.support.frames import (
    assert_plays,
    assert_rebuilt_index_is_equal,
    assert_same_by_ffmpeg,
    indexed_frames,
)
from tests.support.product import Product, wait_for

FULL = os.environ.get("VMS_TEST_FULL") == "1"
"""Whether the tests run at the length that the figures of docs/guide/faults.md were measured with."""


def figure(text: str) -> None:
    """Print a measured figure, for ``pytest -s``."""
    sys.stdout.write(f"\n    {text}")
    sys.stdout.flush()


def spread(values: Sequence[float], unit: str = "s") -> str:
    """Maximum, median and number of measured values."""
    return f"max {max(values):.3f} {unit}, median {median(values):.3f} {unit}, n={len(values)}"


def now_us() -> int:
    """Wall time of this host, which is also the clock of simulated cameras."""
    return time.time_ns() // 1000


def camera_clip(directory: Path, *, seconds: int = 12) -> Path:
    """A clip as most cameras send it: H.264, 25 fps, a keyframe each second, about 1 Mbit/s."""
    target = directory / "camera.mp4"
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(asset(CARS)), "-t", str(seconds), "-an", "-r", "25"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", "25", "-b:v", "1M"]
    subprocess.run([*command, "-x264-params", "scenecut=0", str(target)], check=True, timeout=120)
    return target


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files(pid: int) -> int:
    """File descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names are all that is wanted


def assert_whole(product: Product, camera_ids: Sequence[str]) -> int:
    """Assert of a stopped product: ``vms storage check`` finds nothing, every file plays and rebuilds its index.

    Returns the number of files.
    """
    check = product.cli("storage", "check", "--json")
    assert (check.returncode, json.loads(check.stdout)) == (0, []), check.stdout + check.stderr
    files = [path for camera_id in camera_ids for path in product.media_files(camera_id)]
    for path in files:
        assert_rebuilt_index_is_equal(path)
        assert_same_by_ffmpeg(path)
        assert_plays(path)
    return len(files)


def catalogue_mismatch(product: Product, camera_ids: Sequence[str]) -> str | None:
    """A file on disk that the API's list does not show as it is, or a row without a file; the open file may lag."""
    for camera_id in camera_ids:
        reply = product.get(f"{product.api_url}/api/v1/recordings/{camera_id}", limit="1000")
        if not reply.is_success:
            return reply.text
        rows = {str(row["path"]): row for row in reply.json()["items"]}
        files = product.media_files(camera_id)
        on_disk = {str(path.relative_to(product.data_dir)): path for path in files}
        if rows.keys() != on_disk.keys():
            return f"{camera_id}: {sorted(rows.keys() ^ on_disk.keys())[:3]}"
        for name, path in list(on_disk.items())[:-1]:
            row = rows[name]
            expected = (path.stat().st_size, indexed_frames(path), True)
            if (row["bytes"], row["frames"], row["closed"]) != expected:
                return f"{name}: {row['bytes'], row['frames'], row['closed']} instead of {expected}"
    return None


def wait_catalogue(product: Product, camera_ids: Sequence[str], timeout_s: float = 30) -> float:
    """Seconds until the catalogue equals the files on disk."""
    began = time.monotonic()
    last: list[str | None] = [None]

    def equal() -> bool:
        last[0] = catalogue_mismatch(product, camera_ids)
        return last[0] is None

    try:
        wait_for(equal, timeout_s, "the catalogue equals the files")
    except AssertionError as error:
        raise AssertionError(f"{error}: {last[0]}") from None
    return time.monotonic() - began
