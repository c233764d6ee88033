"""A 5 × 7 bitmap font for text burnt into generated pictures: digits, capitals and the signs of a date."""

from typing import Final

GLYPH_WIDTH: Final = 5
GLYPH_HEIGHT: Final = 7
ADVANCE: Final = GLYPH_WIDTH + 1  # one empty column between characters

_DRAWN: Final = {
    "0": ".###. #...# #..## #.#.# ##..# #...# .###.",
    "1": "..#.. .##.. ..#.. ..#.. ..#.. ..#.. .###.",
    "2": ".###. #...# ....# ...#. ..#.. .#... #####",
    "3": "##### ...#. ..#.. ...#. ....# #...# .###.",
    "4": "...#. ..##. .#.#. #..#. ##### ...#. ...#.",
    "5": "##### #.... ####. ....# ....# #...# .###.",
    "6": "..##. .#... #.... ####. #...# #...# .###.",
    "7": "##### ....# ...#. ..#.. .#... .#... .#...",
    "8": ".###. #...# #...# .###. #...# #...# .###.",
    "9": ".###. #...# #...# .#### ....# ...#. .##..",
    "A": ".###. #...# #...# #...# ##### #...# #...#",
    "B": "####. #...# #...# ####. #...# #...# ####.",
    "C": ".###. #...# #.... #.... #.... #...# .###.",
    "D": "###.. #..#. #...# #...# #...# #..#. ###..",
    "E": "##### #.... #.... ####. #.... #.... #####",
    "F": "##### #.... #.... ####. #.... #.... #....",
    "G": ".###. #...# #.... #.### #...# #...# .####",
    "H": "#...# #...# #...# ##### #...# #...# #...#",
    "I": ".###. ..#.. ..#.. ..#.. ..#.. ..#.. .###.",
    "J": "..### ...#. ...#. ...#. ...#. #..#. .##..",
    "K": "#...# #..#. #.#.. ##... #.#.. #..#. #...#",
    "L": "#.... #.... #.... #.... #.... #.... #####",
    "M": "#...# ##.## #.#.# #.#.# #...# #...# #...#",
    "N": "#...# #...# ##..# #.#.# #..## #...# #...#",
    "O": ".###. #...# #...# #...# #...# #...# .###.",
    "P": "####. #...# #...# ####. #.... #.... #....",
    "Q": ".###. #...# #...# #...# #.#.# #..#. .##.#",
    "R": "####. #...# #...# ####. #.#.. #..#. #...#",
    "S": ".#### #.... #.... .###. ....# ....# ####.",
    "T": "##### ..#.. ..#.. ..#.. ..#.. ..#.. ..#..",
    "U": "#...# #...# #...# #...# #...# #...# .###.",
    "V": "#...# #...# #...# #...# #...# .#.#. ..#..",
    "W": "#...# #...# #...# #.#.# #.#.# #.#.# .#.#.",
    "X": "#...# #...# .#.#. ..#.. .#.#. #...# #...#",
    "Y": "#...# #...# #...# .#.#. ..#.. ..#.. ..#..",
    "Z": "##### ....# ...#. ..#.. .#... #.... #####",
    " ": "..... ..... ..... ..... ..... ..... .....",
    "-": "..... ..... ..... ##### ..... ..... .....",
    ".": "..... ..... ..... ..... ..... .##.. .##..",
    ":": "..... .##.. .##.. ..... .##.. .##.. .....",
    "/": "..... ....# ...#. ..#.. .#... #.... .....",
}

GLYPHS: Final = {character: tuple(rows.split()) for character, rows in _DRAWN.items()}


class TextPainter:
    """Turns text into rows of luma bytes, glyph rows prepared once for one scale and two shades."""

    __slots__ = ("_rows", "scale")

    def __init__(self, scale: int, *, ink: int = 235, paper: int = 16) -> None:
        shade = {"#": bytes((ink,)) * scale, ".": bytes((paper,)) * scale}
        self.scale = scale
        self._rows = {
            character: tuple(b"".join(shade[dot] for dot in row + ".") for row in rows)
            for character, rows in GLYPHS.items()
        }

    def width(self, length: int) -> int:
        """Pixels that ``length`` characters take."""
        return length * ADVANCE * self.scale

    @property
    def height(self) -> int:
        """Pixels that a line of text takes, without leading."""
        return GLYPH_HEIGHT * self.scale

    def rows(self, text: str) -> list[bytes]:
        """One bytes object per glyph row, to be drawn ``scale`` times each; a character without a glyph is a space."""
        glyphs = [self._rows.get(character, self._rows[" "]) for character in text.upper()]
        return [b"".join(glyph[row] for glyph in glyphs) for row in range(GLYPH_HEIGHT)]
