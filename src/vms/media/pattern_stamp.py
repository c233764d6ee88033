"""The machine-readable stamp of a generated picture: capture time and frame number as black and white blocks.

96 bits, most significant first: capture time in µs UTC (64), frame number modulo 65536 (16), CRC-16/XMODEM of both.
Each bit is a square block, white for 1, aligned to 8 pixels so that it falls on whole transform blocks and survives
low bit rates. Blocks fill as many whole rows at the top left of the picture as they need.
"""

import binascii
from dataclasses import dataclass
from struct import Struct
from typing import Final

STAMP_BITS: Final = 96
MIN_WIDTH: Final = 160
MIN_HEIGHT: Final = 120

_LAYOUT = Struct(">QH")
_BLACK: Final = 16
_WHITE: Final = 235
_THRESHOLD: Final = (_BLACK + _WHITE) // 2


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a picture says of itself."""

    capture_us: int
    frame_number: int  # modulo 65536


@dataclass(frozen=True, slots=True)
class StampGrid:
    """Where the blocks are in a picture of one width."""

    block: int  # pixels
    columns: int
    rows: int

    @property
    def width(self) -> int:
        """Pixels from the left edge."""
        return self.block * self.columns

    @property
    def height(self) -> int:
        """Pixels from the top edge."""
        return self.block * self.rows


def stamp_grid(width: int) -> StampGrid:
    """The layout for pictures of this width: 16-pixel blocks, or 8-pixel ones where those would fill the picture."""
    block = 16 if width >= 640 else 8
    columns = min(STAMP_BITS, width // block)
    return StampGrid(block, columns, -(-STAMP_BITS // columns))


def stamp_rows(stamp: Stamp, grid: StampGrid) -> list[bytes]:
    """One row of luma bytes per row of blocks, to be drawn ``grid.block`` times each; unused blocks are black."""
    data = _LAYOUT.pack(stamp.capture_us, stamp.frame_number & 0xFFFF)
    data += binascii.crc_hqx(data, 0).to_bytes(2, "big")
    bits = f"{int.from_bytes(data, 'big'):0{STAMP_BITS}b}".ljust(grid.columns * grid.rows, "0")
    shade = {"0": bytes((_BLACK,)) * grid.block, "1": bytes((_WHITE,)) * grid.block}
    return [
        b"".join(shade[bit] for bit in bits[row * grid.columns : (row + 1) * grid.columns]) for row in range(grid.rows)
    ]


def read_stamp(luma: bytes | bytearray | memoryview, width: int, height: int, stride: int) -> Stamp | None:
    """The stamp of a decoded picture, or None when there is none or its checksum is wrong.

    ``luma`` holds ``height`` rows, ``stride`` bytes apart, of the picture at its original size.
    """
    grid = stamp_grid(width) if width >= MIN_WIDTH else None
    if grid is None or grid.height > height or len(luma) < (grid.height - 1) * stride + width:
        return None
    quarter = grid.block // 4
    value = 0
    for bit in range(STAMP_BITS):
        row, column = divmod(bit, grid.columns)
        left = column * grid.block + quarter
        top = row * grid.block + quarter
        # The middle of the block: its edges are where the coder rings.
        total = sum(
            sum(luma[line * stride + left : line * stride + left + 2 * quarter])
            for line in range(top, top + 2 * quarter)
        )
        value = value << 1 | (total > _THRESHOLD * 4 * quarter * quarter)
    data = value.to_bytes(STAMP_BITS // 8, "big")
    if binascii.crc_hqx(data[:10], 0) != int.from_bytes(data[10:], "big"):
        return None
    capture_us, frame_number = _LAYOUT.unpack_from(data)
    # All black has a matching checksum of zero; no picture was captured in 1970.
    return Stamp(capture_us, frame_number) if capture_us else None
