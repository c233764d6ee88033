import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vms.common.errors import VmsError
from vms.web.paging import Cursor, decode_cursor, encode_cursor

ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)


@settings(max_examples=200)
@given(st.integers(-(2**63) + 1, 2**63 - 1), ids)
def test_a_cursor_comes_back_from_its_text_which_is_safe_in_urls(position: int, row_id: str) -> None:
    text = encode_cursor(Cursor(position, row_id))
    assert decode_cursor(text) == Cursor(position, row_id)
    assert text.replace("-", "").replace("_", "").isalnum()


@settings(max_examples=200)
@given(st.text(max_size=40))
def test_any_other_text_is_a_cursor_or_refused(text: str) -> None:
    try:
        cursor = decode_cursor(text)
    except VmsError:
        return
    assert abs(cursor.position) < 2**63


@pytest.mark.parametrize("text", ["", "!", "MTIz", "Og", encode_cursor(Cursor(2**63, "a"))])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(VmsError):
        decode_cursor(text)
