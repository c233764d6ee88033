from pathlib import Path

import pytest
from tests.support.recordings import CAMERA, START_US, fragment, record

from vms.common.stream import Container
from vms.common.types import CameraId
from vms.format.latest import latest_end_us
from vms.format.layout import index_path

DAY = 86_400


@pytest.mark.parametrize("container", list(Container))
@pytest.mark.parametrize("is_closed", ["closed", "still open"])
def test_it_is_where_the_last_fragment_ends_whether_the_file_is_closed_or_not(
    container: Container, is_closed: str, tmp_path: Path
) -> None:
    record(tmp_path, [fragment(number) for number in range(3)], container, close=is_closed == "closed")
    assert latest_end_us(tmp_path, CAMERA) == START_US + 3_000_000


def test_the_newest_day_that_can_be_read_counts(tmp_path: Path) -> None:
    record(tmp_path, [fragment(0)], Container.MP4)
    record(tmp_path, [fragment(0, wall_us=START_US + DAY * 1_000_000)], Container.MP4)
    newer = max(tmp_path.glob(f"cameras/{CAMERA}/*/*.mp4"))
    assert latest_end_us(tmp_path, CAMERA) == START_US + (DAY + 1) * 1_000_000
    index_path(newer).write_bytes(b"damaged")
    assert latest_end_us(tmp_path, CAMERA) == START_US + 1_000_000


def test_the_latest_file_of_a_day_counts_whatever_its_name(tmp_path: Path) -> None:
    record(tmp_path, [fragment(0)], Container.MP4)
    record(tmp_path, [fragment(0, wall_us=START_US + 7_200_000_000)], Container.MKV)
    assert latest_end_us(tmp_path, CAMERA) == START_US + 7_201_000_000


def test_a_camera_without_recordings_has_none(tmp_path: Path) -> None:
    assert latest_end_us(tmp_path, CAMERA) is None
    record(tmp_path, [fragment(0)], Container.MP4)
    assert latest_end_us(tmp_path, CameraId("other")) is None
    assert latest_end_us(tmp_path / "missing", CAMERA) is None


def test_other_files_and_directories_are_passed_over(tmp_path: Path) -> None:
    media = record(tmp_path, [fragment(0)], Container.MP4)
    (media.parent.parent / "2099-99-notes").mkdir()
    (media.parent.parent / "2099-01-01").mkdir()
    (media.parent / "notes.txt").touch()
    assert latest_end_us(tmp_path, CAMERA) == START_US + 1_000_000
