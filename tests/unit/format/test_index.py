from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.recordings import FACTS, START_US

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container
from vms.format.index import RECORD_SIZE, IndexView, header_line, pack_record
from vms.format.model import IndexRecord

HEADER = header_line(FACTS, Container.MP4)
u32 = st.integers(0, 2**32 - 1)
i64 = st.integers(-(2**63), 2**63 - 1)
records = st.lists(st.builds(IndexRecord, i64, i64, st.integers(0, 2**64 - 1), u32, u32, u32, u32), max_size=20)


def index_of(items: list[IndexRecord]) -> bytes:
    return HEADER + b"".join(map(pack_record, items))


def seconds(starts: list[int], keyframe_every: int = 1) -> IndexView:
    """An index of fragments of one second that start at these seconds."""
    items = [IndexRecord(START_US + s * 10**6, 0, 0, 1, 90_000, 25, int(i % keyframe_every == 0)) for i, s in enumerate(starts)]  # fmt: skip # noqa: E501
    return IndexView(index_of(items))


@given(records)
def test_records_are_read_back_as_they_were(items: list[IndexRecord]) -> None:
    view = IndexView(index_of(items))
    assert list(view) == items
    assert view.header == HEADER
    assert view.valid_prefix() == items
    assert view[:] == items


@given(records, st.integers(0, RECORD_SIZE - 1))
def test_a_torn_last_record_is_not_there(items: list[IndexRecord], extra: int) -> None:
    torn = pack_record(IndexRecord(1, 2, 3, 4, 5, 6, 7))[:extra]
    assert list(IndexView(index_of(items) + torn)) == items


def test_last_records_that_a_power_cut_left_as_zeros_are_not_there() -> None:
    item = IndexRecord(1, 2, 3, 4, 5, 6, 7)
    assert list(IndexView(index_of([item]) + bytes(3 * RECORD_SIZE))) == [item]


def test_a_damaged_record_in_the_middle_is_an_error_only_when_it_is_read() -> None:
    data = bytearray(index_of([IndexRecord(i, 0, 0, 0, 0, 0, 0) for i in range(3)]))
    data[len(HEADER) + RECORD_SIZE + 20] ^= 1
    view = IndexView(bytes(data))
    assert view[0].wall_start_us == 0
    assert view[-1].wall_start_us == 2
    with pytest.raises(VmsError, match="record 1 is damaged"):
        view[1]
    assert len(view.valid_prefix()) == 1


def test_numbers_outside_the_index_are_index_errors() -> None:
    view = seconds([0])
    with pytest.raises(IndexError):
        view[1]
    with pytest.raises(IndexError):
        view[-2]


@given(st.binary(max_size=200) | st.sampled_from([b"[" * 5000 + b"\n", b'"vms-idx"\n', b'{"format":"vms-idx"}\n']))
def test_anything_else_is_not_an_index(data: bytes) -> None:
    with pytest.raises(VmsError) as caught:
        IndexView(data)
    assert caught.value.kind is ErrorKind.CORRUPT


def test_a_missing_index_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(VmsError, match="storage check --repair") as caught:
        IndexView.load(tmp_path / "index_10.vms-idx")
    assert caught.value.kind is ErrorKind.NOT_FOUND


def test_an_unreadable_index_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(VmsError) as caught:
        IndexView.load(tmp_path)
    assert caught.value.kind is ErrorKind.STORAGE


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(-5, 55))
def test_find_is_the_last_record_that_started(starts: list[int], at: int) -> None:
    starts.sort()
    expected = sum(start <= at for start in starts) - 1
    assert seconds(starts).find(START_US + at * 10**6) == expected


@given(st.sets(st.integers(0, 50), max_size=20), st.integers(-5, 55), st.integers(0, 20), st.integers(1, 4))
def test_a_range_covers_all_that_overlaps_and_goes_back_to_a_keyframe(
    starts: set[int], begin: int, length: int, keyframe_every: int
) -> None:
    ordered = sorted(starts)
    view = seconds(ordered, keyframe_every)
    end = begin + length
    found = view.overlapping(START_US + begin * 10**6, START_US + end * 10**6)
    wanted = [i for i, start in enumerate(ordered) if start < end and start + 1 > begin]
    if not wanted:
        assert not found
    else:
        assert found == range(wanted[0] - wanted[0] % keyframe_every, wanted[-1] + 1)
