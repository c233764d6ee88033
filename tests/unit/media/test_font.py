"""The burnt-in font."""

import pytest

from vms.media.font import ADVANCE, GLYPH_HEIGHT, GLYPH_WIDTH, GLYPHS, TextPainter


def test_every_glyph_has_the_cell_size_and_only_dots_and_hashes() -> None:
    for character, rows in GLYPHS.items():
        assert len(rows) == GLYPH_HEIGHT, character
        assert {len(row) for row in rows} == {GLYPH_WIDTH}, character
        assert set("".join(rows)) <= {"#", "."}, character


def test_no_two_glyphs_look_alike() -> None:
    assert len(set(GLYPHS.values())) == len(GLYPHS)


@pytest.mark.parametrize("text", ["2026-03-01 10:00:00.123 UTC", "FRAME 00000099"])
def test_all_that_the_scene_writes_can_be_drawn(text: str) -> None:
    assert set(text) <= GLYPHS.keys()


def test_rows_show_the_glyphs_in_ink_on_paper_with_a_gap() -> None:
    painter = TextPainter(2, ink=200, paper=20)
    rows = painter.rows("1-")
    assert [len(row) for row in rows] == [painter.width(2)] * GLYPH_HEIGHT
    assert painter.width(2) == 2 * ADVANCE * 2
    assert painter.height == GLYPH_HEIGHT * 2
    drawn = ["".join("#" if row[x] == 200 else "." for x in range(0, len(row), 2)) for row in rows]
    assert drawn == [f"{one}.{dash}." for one, dash in zip(GLYPHS["1"], GLYPHS["-"], strict=True)]


def test_unknown_characters_become_spaces_and_letters_capitals() -> None:
    painter = TextPainter(1)
    assert painter.rows("a€b") == painter.rows("A B")
