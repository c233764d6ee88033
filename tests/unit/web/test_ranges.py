import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vms.web.ranges import ByteRange, RangeNotSatisfiableError, http_date, not_modified, parse_range, range_still_valid


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", ByteRange(0, 10)),
        ("bytes=90-", ByteRange(90, 100)),
        ("bytes=-10", ByteRange(90, 100)),
        ("bytes=-1000", ByteRange(0, 100)),
        ("bytes=50-1000", ByteRange(50, 100)),
        ("bytes = 5 - 5", ByteRange(5, 6)),
        (None, None),
        ("bytes=9-5", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-9", None),
        ("bytes=٣-", None),
    ],
)
def test_a_range_header_means_these_of_a_hundred_bytes(header: str | None, expected: ByteRange | None) -> None:
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_without_a_byte_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(RangeNotSatisfiableError):
        parse_range(header, 100)


headers = st.one_of(st.text(max_size=40), st.from_regex(r"bytes=\d{0,20}-\d{0,20}", fullmatch=True))


@settings(max_examples=300)
@given(headers, st.integers(0, 10**6))
def test_whatever_a_client_sends_a_range_lies_within_the_bytes(header: str, size: int) -> None:
    try:
        found = parse_range(header, size)
    except RangeNotSatisfiableError:
        return
    assert found is None or 0 <= found.start < found.end <= size


def test_if_range_permits_the_same_representation_only() -> None:
    modified_us = 1_772_359_200_700_000
    assert range_still_valid(None, etag='"a"', modified_us=modified_us)
    assert range_still_valid('"a"', etag='"a"', modified_us=modified_us)
    assert range_still_valid("Sun, 01 Mar 2026 10:00:00 GMT", etag='"a"', modified_us=modified_us)
    for other in ('"b"', 'W/"a"', "Sun, 01 Mar 2026 10:00:01 GMT", "yesterday"):
        assert not range_still_valid(other, etag='"a"', modified_us=modified_us)


def test_an_etag_that_the_client_has_is_not_sent_again() -> None:
    assert not_modified('"x", W/"a"', '"a"')
    assert not_modified("*", '"a"')
    assert not not_modified('"x"', '"a"')
    assert not not_modified(None, '"a"')


def test_dates_have_the_form_of_http() -> None:
    assert http_date(1_772_359_200_000_000) == "Sun, 01 Mar 2026 10:00:00 GMT"
