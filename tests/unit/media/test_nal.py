"""NAL unit streams: Annex B and lengths hold the same NAL units."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bitstream import escape
from tests.support.refusals import only_errors

from vms.common.errors import ErrorKind
from vms.media import nal

# A NAL unit holds no start code and does not end in a zero byte: that is what escaping and the stop bit are for.
NALS = st.lists(st.binary(max_size=40).map(lambda body: b"\x65" + escape(body) + b"\x80"), max_size=6)


@settings(max_examples=100)
@given(NALS)
def test_annex_b_and_lengths_turn_into_each_other(nals: list[bytes]) -> None:
    payload = nal.join_lengths(nals)
    stream = nal.join_annex_b(nals)
    assert nal.annex_b_to_lengths(stream) == payload
    assert nal.lengths_to_annex_b(payload) == stream
    assert list(nal.split_lengths(payload)) == nals
    assert nal.split_annex_b(stream) == nals


def test_short_start_codes_and_zero_padding_are_no_part_of_a_nal_unit() -> None:
    assert nal.split_annex_b(b"\x00\x00\x01\x67\x42\x00\x00\x00\x01\x68\xce\x00\x00") == [b"\x67\x42", b"\x68\xce"]
    assert nal.split_annex_b(b"no start code") == []


@settings(max_examples=100)
@given(st.binary(max_size=30))
def test_lengths_that_do_not_add_up_are_corrupt_and_nothing_else(data: bytes) -> None:
    with only_errors(ErrorKind.CORRUPT):
        assert nal.join_lengths(nal.split_lengths(data)) == data


@pytest.mark.parametrize("record", [b"", b"\x00", b"\x00\x02\x67", b"\x00\x00\x67"])
def test_a_record_entry_that_is_cut_short_or_empty_is_an_index_error(record: bytes) -> None:
    with pytest.raises(IndexError):
        nal.record_entry(record, 0)


def test_a_record_entry_is_read_with_the_position_behind_it() -> None:
    assert nal.record_entry(b"..\x00\x02\x67\x42rest", 2) == (b"\x67\x42", 6)
