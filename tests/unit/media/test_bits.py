"""Bit reader: what the writer of the tests wrote comes back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bitstream import BitWriter, escape

from vms.common.errors import ErrorKind, VmsError
from vms.media.bits import BitReader, unescape


@settings(max_examples=100)
@given(
    st.lists(
        st.one_of(
            st.integers(0, 2**32 - 2).map(lambda v: ("ue", v)), st.integers(-(2**30), 2**30).map(lambda v: ("se", v))
        )
    )
)
def test_exp_golomb_codes_come_back(codes: list[tuple[str, int]]) -> None:
    writer = BitWriter()
    for kind, value in codes:
        writer.ue(value) if kind == "ue" else writer.se(value)
    reader = BitReader(writer.rbsp())
    assert [(kind, reader.ue() if kind == "ue" else reader.se()) for kind, _ in codes] == codes
    assert reader.bits(1) == 1  # the stop bit is next


@settings(max_examples=100)
@given(st.lists(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, 2**n - 1)))))
def test_fixed_width_fields_come_back(fields: list[tuple[int, int]]) -> None:
    writer = BitWriter()
    for width, value in fields:
        writer.u(width, value)
    reader = BitReader(writer.rbsp())
    assert [(width, reader.bits(width)) for width, _ in fields] == fields


@settings(max_examples=100)
@given(st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 255]), max_size=60).map(bytes))
def test_unescape_undoes_escape(rbsp: bytes) -> None:
    assert unescape(escape(rbsp)) == rbsp


def test_reading_past_the_end_is_an_error() -> None:
    reader = BitReader(b"\x80")
    assert reader.flag()
    with pytest.raises(VmsError) as caught:
        reader.bits(8)
    assert caught.value.kind is ErrorKind.PROTOCOL
    with pytest.raises(VmsError):
        reader.skip(8)
    reader.skip(7)
    with pytest.raises(VmsError):
        reader.flag()


def test_a_code_of_more_than_32_zeros_is_refused() -> None:
    with pytest.raises(VmsError, match="32 bits"):
        BitReader(b"\x00" * 10).ue()
