import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.common.errors import VmsError
from vms.format import ebml

identifiers = st.sampled_from([0xEC, 0x4286, 0x2AD7B1, 0x1F43B675])


@given(identifiers, st.binary(max_size=20_000), st.sampled_from([0, 4, 8]))
def test_an_element_is_read_back(identifier: int, payload: bytes, width: int) -> None:
    data = ebml.element(identifier, payload, width)
    found, size, at = ebml.read_header(data, 0)
    assert (found, size) == (identifier, len(payload))
    assert data[at:] == payload


@given(st.binary(max_size=20), st.integers(0, 20))
def test_any_bytes_are_an_element_or_a_vms_error(data: bytes, position: int) -> None:
    with contextlib.suppress(VmsError):
        identifier, size, _ = ebml.read_header(data, position)
        assert identifier > 0
        assert size >= -1


def test_an_unknown_size_is_minus_one() -> None:
    assert ebml.read_header(b"\x18\x53\x80\x67" + ebml.UNKNOWN_SIZE, 0) == (0x18538067, -1, 12)


@given(st.integers(1, 8))
def test_the_size_of_all_ones_is_never_written_as_a_size(width: int) -> None:
    with pytest.raises(VmsError, match="does not fit"):
        ebml.size_field((1 << 7 * width) - 1, width)


@given(st.integers(0, 2**64 - 1))
def test_unsigned_elements_take_no_more_bytes_than_needed(value: int) -> None:
    data = ebml.unsigned(0xD7, value)
    assert int.from_bytes(data[2:], "big") == value
    assert len(data) == 3 or data[2]


def test_text_and_floats_have_their_standard_form() -> None:
    assert ebml.text(0x4282, "webm") == b"\x42\x82\x84webm"
    assert ebml.float64(0x4489, 1.0) == b"\x44\x89\x88\x3f\xf0\0\0\0\0\0\0"
