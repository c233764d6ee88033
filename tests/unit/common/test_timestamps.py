from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vms.common.errors import ErrorKind, VmsError
from vms.common.timestamps import datetime_from_us, format_us, parse_us

YEAR_1_US = -62_135_596_800_000_000
YEAR_9999_US = 253_402_300_799_999_999


@given(st.integers(YEAR_1_US, YEAR_9999_US))
@example(YEAR_1_US)
@example(YEAR_9999_US)
def test_every_microsecond_survives_the_round_trip(wall_us: int) -> None:
    text = format_us(wall_us)
    assert text.endswith("Z")
    assert parse_us(text) == wall_us
    assert datetime_from_us(wall_us).tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "wall_us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-03-01T10:00:00Z", 1_772_359_200_000_000),
        ("2026-03-01T10:00:00", 1_772_359_200_000_000),
        ("2026-03-01 11:00:00.000001+01:00", 1_772_359_200_000_001),
        ("2026-03-01", 1_772_323_200_000_000),
        ("1772359200.5", 1_772_359_200_500_000),
        ("0", 0),
        ("-1", -1_000_000),
    ],
)
def test_times_are_read_as_people_write_them(text: str, wall_us: int) -> None:
    assert parse_us(text) == wall_us


@pytest.mark.parametrize(
    "text", ["", "now", "2026-13-01", "nan", "inf", "1e300", "1e18", "9999-12-31T23:59:59-01:00", "x" * 500]
)
def test_what_is_no_time_is_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(VmsError, match="is not a time: use RFC 3339") as caught:
        parse_us(text)
    assert caught.value.kind is ErrorKind.INVALID
    assert len(caught.value.message) < 200


@given(st.text(max_size=30))
def test_what_is_read_can_be_shown(text: str) -> None:
    try:
        wall_us = parse_us(text)
    except VmsError:
        return
    assert parse_us(format_us(wall_us)) == wall_us


def test_text_is_the_time_of_its_datetime() -> None:
    assert format_us(1_772_359_200_000_001) == "2026-03-01T10:00:00.000001Z"
    assert datetime_from_us(1_772_359_200_000_000) == datetime(2026, 3, 1, 10, tzinfo=UTC)
