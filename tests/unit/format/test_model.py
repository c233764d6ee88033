import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.recordings import START_US, fragment, unit

from vms.common.errors import ErrorKind, VmsError
from vms.format.model import Fragment, IndexRecord, sample_table, ticks_from_us, us_from_90k


@given(st.integers(-(2**40), 2**40))
def test_media_time_survives_the_way_to_microseconds_and_back(ticks_90k: int) -> None:
    assert ticks_from_us(us_from_90k(ticks_90k)) == ticks_90k


def test_a_second_is_ninety_thousand_ticks_and_a_million_microseconds() -> None:
    assert us_from_90k(90_000) == 1_000_000
    assert ticks_from_us(1_000_000) == 90_000


def test_a_record_ends_where_its_duration_says() -> None:
    record = IndexRecord(START_US, 180_000, 0, 10, 90_000, 25, 1)
    assert (record.wall_end_us, record.media_end_90k) == (START_US + 1_000_000, 270_000)


def test_durations_are_the_distances_of_decode_times_and_the_rest_for_the_last() -> None:
    units = [unit(0, key=True), unit(1), unit(3)]
    table = sample_table(Fragment(units, 15_000, START_US))
    assert table.durations_90k == [3600, 7200, 4200]
    assert table.duration_90k == 15_000
    assert table.keyframes == [1, 0, 0]


def test_the_last_frame_lasts_at_least_a_tick_when_the_estimate_is_too_short() -> None:
    table = sample_table(Fragment([unit(0, key=True), unit(1)], 1000, START_US))
    assert table.durations_90k == [3600, 1]


def test_payloads_are_handed_on_without_a_copy() -> None:
    part = fragment(0)
    assert all(a is b.payload for a, b in zip(sample_table(part).payloads, part.units, strict=True))


def test_decode_times_that_run_backwards_are_refused() -> None:
    with pytest.raises(VmsError, match="not in order") as caught:
        sample_table(Fragment([unit(5, key=True), unit(4)], 7200, START_US))
    assert caught.value.kind is ErrorKind.INVALID


def test_presentation_hours_away_from_decoding_is_refused() -> None:
    with pytest.raises(VmsError, match="six hours"):
        sample_table(Fragment([unit(0, key=True, reorder_90k=2**31)], 3600, START_US))
