from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.recordings import CAMERA, START_US

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container
from vms.format.layout import (
    RecordingPath,
    date_and_hour,
    index_path,
    is_date,
    is_media_name,
    next_number,
    parse_media_path,
)

places = st.builds(
    RecordingPath,
    st.just(CAMERA),
    st.dates().map(lambda day: day.isoformat()),
    st.integers(0, 23),
    st.integers(0, 999_999),
    st.sampled_from(Container),
)


@given(places)
def test_a_place_is_read_back_from_its_path(place: RecordingPath) -> None:
    assert parse_media_path(place.media) == place
    assert index_path(Path(place.media)) == Path(place.index)
    assert is_media_name(place.media.name)


@given(st.text())
def test_any_other_path_is_refused_with_one_line(text: str) -> None:
    with pytest.raises(VmsError) as caught:
        parse_media_path(PurePosixPath("cameras", "cam", "2026-03-01", text))
    assert caught.value.kind is ErrorKind.INVALID


def test_names_are_those_of_the_design() -> None:
    first = RecordingPath(CAMERA, "2026-03-01", 9, 0, Container.MP4)
    second = RecordingPath(CAMERA, "2026-03-01", 9, 2, Container.MKV)
    assert str(first.media) == "cameras/cam_0123456789/2026-03-01/video_09.mp4"
    assert str(first.index) == "cameras/cam_0123456789/2026-03-01/index_09.vms-idx"
    assert str(second.media) == "cameras/cam_0123456789/2026-03-01/video_09_2.mkv"
    assert str(second.index) == "cameras/cam_0123456789/2026-03-01/index_09_2.vms-idx"


def test_date_and_hour_are_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert date_and_hour(START_US) == ("2026-03-01", 10)
    assert date_and_hour(START_US - 1) == ("2026-03-01", 9)


@pytest.mark.parametrize("wall_us", [2**62, -(2**62)])
def test_a_time_beyond_the_calendar_is_refused(wall_us: int) -> None:
    with pytest.raises(VmsError, match="not a wall time"):
        date_and_hour(wall_us)


def test_a_number_is_never_used_twice_in_an_hour_whatever_the_container() -> None:
    names = ["video_10.mp4", "index_10.vms-idx", "video_10_3.mkv", "index_11_9.vms-idx", ".video_10_4.mp4.new"]
    assert next_number(names, 10) == 5
    assert next_number(names, 11) == 10
    assert next_number(names, 12) == 0


def test_a_file_outside_the_layout_has_its_index_under_its_own_name() -> None:
    assert index_path(Path("evidence/case7.mp4")) == Path("evidence/case7.vms-idx")


def test_only_dates_are_day_directories() -> None:
    assert is_date("2026-03-01")
    assert not is_date("2026-03-01.bak")
