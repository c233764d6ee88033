"""The disk of the recordings is full, or fails and becomes read-only: what is told, kept, and goes on by itself."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.cameras import CARS, Simulator, asset
from tests.support.faults import FULL, figure, now_us
from tests.support.frames import (
    RecordedFrame,
    assert_plays,
    assert_rebuilt_index_is_equal,
    breaks,
    demuxed_digests,
    recorded_frames,
)
from tests.support.product import Product, wait_for

from vms.common.timestamps import format_us, parse_us

_SHORT_S = 3  # an outage that memory bridges, with the seconds until it is told and until the next try
_LONG_S = 40 if FULL else 12  # one that is longer than the 8 s of memory (ingest.ring_s)
_VOLUME_BYTES = 24 << 20


@pytest.mark.timeout(300)
def test_a_full_volume_is_told_and_recording_goes_on_by_itself_when_there_is_space(tmp_path: Path) -> None:
    clip = asset(CARS)
    with (
        _tmpfs(tmp_path / "volume") as volume,
        Simulator(clip, cameras=2) as cameras,
        Product(tmp_path, "--config", _config(tmp_path, volume)) as product,
    ):
        ids = _add_cameras(product, cameras)
        _fill_for_a_while(product, volume, ids, _SHORT_S)
        began_us = now_us()
        before = _fill_for_a_while(product, volume, ids, _LONG_S)
        gaps = {camera_id: wait_for(partial(_gaps, product, camera_id), 10, "the gap is told") for camera_id in ids}
        _wait_seconds_recorded(volume, ids, 2)
    source = demuxed_digests(clip)
    for camera_id in ids:
        frames = _assert_kept_and_whole(volume, camera_id, before[camera_id])
        # One break, and none by the first outage: memory bridged it.
        (number,) = breaks(frames, source)
        assert frames[number].is_keyframe
        (gap,) = gaps[camera_id]
        assert gap["cause"] == "disk_full"
        assert "the disk is full" in gap["detail"]
        start_us, end_us = parse_us(gap["start"]), parse_us(gap["end"])
        assert began_us - 1_000_000 <= start_us, "it begins in the second outage, with the fragment in progress then"
        assert abs(start_us - frames[number - 1].capture_us) < 200_000
        assert abs(end_us - frames[number].capture_us) < 200_000
        figure(
            f"{camera_id}: {(end_us - start_us) / 1e6:.1f} s missing of the {_LONG_S} s, nothing of the {_SHORT_S} s"
        )


@pytest.mark.timeout(300)
def test_a_disk_that_fails_and_becomes_read_only_is_told_and_used_again_once_it_is_mended(tmp_path: Path) -> None:
    clip = asset(CARS)
    with (
        _ext4(tmp_path / "volume", tmp_path / "disk.img") as disk,
        Simulator(clip, cameras=2) as cameras,
        Product(tmp_path, "--config", _config(tmp_path, disk.path)) as product,
    ):
        ids = _add_cameras(product, cameras)
        # A fragment between the sync and the failure would be lost, as with any disk that fails.
        ingest = product.kill("ingest", signal.SIGSTOP)
        try:
            disk.fail()
        finally:
            os.kill(ingest, signal.SIGCONT)
        began = time.monotonic()
        degraded = [product.wait_state(camera_id, "degraded") for camera_id in ids]
        figure(f"disk read-only: degraded in the API after {time.monotonic() - began:.1f} s")
        before = {camera_id: _frames(disk.path, camera_id) for camera_id in ids}
        for status in degraded:
            assert "the file system is read-only: check the disk" in status["last_error"]
            assert not status["recording"]
        disk.mend()
        began = time.monotonic()
        for camera_id in ids:
            product.wait_state(camera_id, "online", 10)
        figure(f"read-only disk: online again {time.monotonic() - began:.1f} s after it was mended")
        _wait_seconds_recorded(disk.path, ids, 2)
        product.stop()
        source = demuxed_digests(clip)
        for camera_id in ids:
            assert breaks(_assert_kept_and_whole(disk.path, camera_id, before[camera_id]), source) == []


# --- volumes ------------------------------------------------------------------------------------------


def _config(directory: Path, volume: Path) -> Path:
    """Recordings go to ``volume``, and retention does not make room there."""
    path = directory / "vms.yaml"
    path.write_text(f"storage:\n  volumes:\n    - name: main\n      path: {volume}\n      min_free_bytes: 0\n")
    return path


def _run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _mount(*arguments: object) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a volume of its own")
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=30)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a volume here: {done.stderr.strip()}")


@contextmanager
def _tmpfs(path: Path) -> Iterator[Path]:
    path.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={_VOLUME_BYTES}", "tmpfs", path)
    try:
        yield path
        # What the test looks at when the product has stopped must outlive the volume.
        _run("cp", "-a", path, path.with_name("kept"))
    finally:
        _run("umount", "-l", path)
    path.rmdir()
    path.with_name("kept").rename(path)


@contextmanager
def _no_space(volume: Path) -> Iterator[None]:
    """A stranger's file takes all that is left, also what is set free meanwhile."""
    filler = volume / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    with filler.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))
    try:
        yield
    finally:
        filler.unlink()


class _Disk:
    """An ext4 file system in a file, which can be made to fail as one on a dying disk."""

    def __init__(self, path: Path, image: Path) -> None:
        self.path = path
        self._image = image

    def mount(self) -> None:
        _mount("-o", "loop,errors=remount-ro", self._image, self.path)

    def fail(self) -> None:
        """What was written is on the disk; from now on it is read-only, for open files too."""
        device = Path(_run("findmnt", "-no", "SOURCE", self.path).strip()).name
        trigger = Path(f"/sys/fs/ext4/{device}/trigger_fs_error")
        if not trigger.exists():
            pytest.skip("this kernel cannot make ext4 fail on purpose")
        _run("sync", "-f", self.path)
        trigger.write_text("1")

    def mend(self) -> None:
        """Check it and mount it again, as an administrator does; nothing is told to ingest."""
        _run("umount", "-l", self.path)
        wait_for(lambda: str(self._image) not in _run("losetup", "-a"), 10, "nobody has a file of the old mount open")
        checked = subprocess.run(["e2fsck", "-fy", self._image], capture_output=True, text=True, check=False)
        assert checked.returncode in {0, 1}, checked.stdout
        self.mount()


@contextmanager
def _ext4(path: Path, image: Path) -> Iterator[_Disk]:
    path.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    _run("mkfs.ext4", "-q", "-O", "^has_journal", image)
    disk = _Disk(path, image)
    disk.mount()
    try:
        yield disk
    finally:
        _run("umount", "-l", path)


# --- what happened ------------------------------------------------------------------------------------


def _add_cameras(product: Product, cameras: Simulator) -> list[str]:
    ids = [
        product.add_camera(cameras.url(number), f"Camera {number}", container=container)
        for number, container in enumerate(("mp4", "mkv"))
    ]
    for camera_id in ids:
        product.wait_frames(camera_id, 40)
    return ids


def _files(volume: Path, camera_id: str) -> list[Path]:
    found = (volume / "cameras" / camera_id).glob("*/video_*.*")
    return sorted(found, key=lambda path: (path.parent.name, path.stem[6:8], int(path.stem[9:] or 0)))


def _frames(volume: Path, camera_id: str) -> list[RecordedFrame]:
    return recorded_frames(_files(volume, camera_id))


def _wait_seconds_recorded(volume: Path, ids: list[str], seconds: int) -> None:
    """Wait until frames of that much later than now are on disk."""
    until_us = now_us() + seconds * 1_000_000
    wait_for(lambda: all(_frames(volume, i)[-1].capture_us > until_us for i in ids), 20, "recording goes on")


def _fill_for_a_while(product: Product, volume: Path, ids: list[str], outage_s: int) -> dict[str, list[RecordedFrame]]:
    """Leave no space for so long after the cameras' states tell it; returns the frames on disk meanwhile."""
    with _no_space(volume):
        began = time.monotonic()
        degraded = [product.wait_state(camera_id, "degraded") for camera_id in ids]
        told_us = now_us()
        figure(f"volume full: degraded in the API after {time.monotonic() - began:.1f} s")
        before = {camera_id: _frames(volume, camera_id) for camera_id in ids}
        wait_for(lambda: now_us() - told_us > outage_s * 1_000_000, outage_s + 5, "the outage is over")
    for status in degraded:
        assert "the disk is full: free space" in status["last_error"]
        assert not status["recording"]
    began = time.monotonic()
    for camera_id in ids:
        product.wait_state(camera_id, "online", 5)
    figure(f"volume full for {outage_s} s: online again {time.monotonic() - began:.1f} s after there was space")
    return before


def _gaps(product: Product, camera_id: str) -> list[dict[str, Any]] | None:
    """The gaps that the storage service lists; None while there are none."""
    start, end = format_us(now_us() - 120_000_000), format_us(now_us() + 60_000_000)
    reply = product.get(f"{product.storage_url}/recordings/{camera_id}", start=start, end=end)
    return list(reply.raise_for_status().json()["gaps"]) or None


def _assert_kept_and_whole(volume: Path, camera_id: str, before: list[RecordedFrame]) -> list[RecordedFrame]:
    """What was on disk is there still, in files that play; returns all frames."""
    frames = _frames(volume, camera_id)
    assert [frame.digest for frame in frames[: len(before)]] == [frame.digest for frame in before]
    for path in _files(volume, camera_id):
        assert_rebuilt_index_is_equal(path)
        assert_plays(path)
    return frames
