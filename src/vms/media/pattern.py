"""A generated test scene: cars on a road, a bouncing ball, a clock, the frame number and a machine-readable stamp.

Every picture is a function of its frame number and capture time. Drawing is slices of whole rows on planar YUV 4:2:0;
only what moved is restored from the background, which keeps a 720p picture near half a millisecond.
"""

import random
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from vms.common.errors import ErrorKind, VmsError
from vms.common.timestamps import datetime_from_us
from vms.media.font import TextPainter
from vms.media.pattern_stamp import MIN_HEIGHT, MIN_WIDTH, Stamp, StampGrid, stamp_grid, stamp_rows

MAX_WIDTH: Final = 7680
MAX_HEIGHT: Final = 4320

Colour: TypeAlias = tuple[int, int, int]  # Y, U, V in the video range of BT.709

_SKY: Final = (170, 150, 110)
_GRASS: Final = (95, 110, 115)
_ROAD: Final = (70, 128, 128)
_LINE: Final = (210, 128, 128)
_TYRE: Final = (20, 128, 128)
_GLASS: Final = (150, 140, 120)
_BALL: Final = (180, 60, 180)
_CAR_COLOURS: Final = (
    (82, 90, 240),
    (41, 240, 110),
    (200, 128, 128),
    (145, 54, 34),
    (35, 128, 128),
    (210, 16, 146),
)
_GREY: Final = 128
_NOISE_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Pixels; x, y, width and height are even so that chroma is hit exactly."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Car:
    width: int
    height: int
    top: int
    speed: int  # pixels per frame, signed
    start: int
    colour: Colour


class Canvas:
    """One YUV 4:2:0 picture, planes without padding."""

    __slots__ = ("height", "u", "v", "width", "y")

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.y = bytearray(bytes((16,)) * (width * height))
        self.u = bytearray(bytes((_GREY,)) * (width * height // 4))
        self.v = bytearray(bytes((_GREY,)) * (width * height // 4))

    def clipped(self, x: int, y: int, width: int, height: int) -> Rectangle:
        """The part of an area that is inside the picture, rounded inwards to even pixels."""
        left, top = max(0, x + 1 & ~1), max(0, y + 1 & ~1)
        right, bottom = min(self.width, x + width & ~1), min(self.height, y + height & ~1)
        return Rectangle(left, top, max(0, right - left), max(0, bottom - top))

    def fill(self, area: Rectangle, colour: Colour) -> None:
        """Paint an area that is inside the picture."""
        self._rows(self.y, self.width, area.x, area.y, bytes((colour[0],)) * area.width, area.height)
        half = Rectangle(area.x // 2, area.y // 2, area.width // 2, area.height // 2)
        self._rows(self.u, self.width // 2, half.x, half.y, bytes((colour[1],)) * half.width, half.height)
        self._rows(self.v, self.width // 2, half.x, half.y, bytes((colour[2],)) * half.width, half.height)

    def copy(self, source: "Canvas", area: Rectangle) -> None:
        """Take an area from another picture of the same size."""
        for target, origin, shift in ((self.y, source.y, 0), (self.u, source.u, 1), (self.v, source.v, 1)):
            stride = self.width >> shift
            width = area.width >> shift
            first = (area.y >> shift) * stride + (area.x >> shift)
            for start in range(first, first + (area.height >> shift) * stride, stride):
                target[start : start + width] = origin[start : start + width]

    def luma_rows(self, x: int, y: int, rows: list[bytes], repeat: int) -> None:
        """Draw rows of luma, each ``repeat`` times, cut at the right edge."""
        room = self.width - x
        for n, row in enumerate(rows):
            self._rows(self.y, self.width, x, y + n * repeat, row[:room], repeat)

    @staticmethod
    def _rows(plane: bytearray, stride: int, x: int, y: int, row: bytes, count: int) -> None:
        width = len(row)
        first = y * stride + x
        for start in range(first, first + count * stride, stride):
            plane[start : start + width] = row


@dataclass(slots=True)
class Scene:
    """The test scene at one size; `draw` is the only thing to call.

    ``noise`` is the part of the picture (0 to 1) that shows television noise, new in every frame: it is what makes a
    coder need its bit rate. Width and height are even, from 160 × 120 up. Raises VmsError(INVALID).
    """

    width: int
    height: int
    noise: float = 0.01
    _canvas: Canvas = field(init=False, repr=False)
    _background: Canvas = field(init=False, repr=False)
    _grid: StampGrid = field(init=False, repr=False)
    _text: TextPainter = field(init=False, repr=False)
    _cars: tuple[_Car, ...] = field(init=False, repr=False)
    _ball: tuple[Rectangle, ...] = field(init=False, repr=False)
    _noise_area: Rectangle = field(init=False, repr=False)
    _noise_pool: bytes = field(init=False, repr=False)
    _dirty: list[Rectangle] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_size(self.width, self.height)
        generator = random.Random(1)  # noqa: S311 - a picture, not a secret; the same one each time
        self._grid = stamp_grid(self.width)
        self._text = TextPainter(max(1, min(self.width // 320, self.height // 180)))
        self._background = _background(self.width, self.height, generator)
        self._background.fill(Rectangle(0, 0, self.width, self._grid.height), (16, _GREY, _GREY))
        self._canvas = Canvas(self.width, self.height)
        self._canvas.copy(self._background, Rectangle(0, 0, self.width, self.height))
        self._cars = _cars(self.width, self.height, generator)
        self._ball = _disc(max(8, self.height // 12) & ~1)
        self._noise_area = _noise_area(self._canvas, self.noise)
        self._noise_pool = bytes(64 + byte // 2 for byte in generator.randbytes(_NOISE_BYTES))
        self._dirty = []

    def draw(self, frame_number: int, capture_us: int) -> Canvas:
        """The picture of one moment; the same object each time, valid until the next call."""
        canvas = self._canvas
        for area in self._dirty:
            canvas.copy(self._background, area)
        self._dirty.clear()
        self._draw_noise(frame_number)
        for car in self._cars:
            self._draw_car(car, frame_number)
        self._draw_ball(frame_number)
        self._draw_text(frame_number, capture_us)
        stamp = Stamp(capture_us, frame_number & 0xFFFF)
        canvas.luma_rows(0, 0, stamp_rows(stamp, self._grid), self._grid.block)
        return canvas

    def _paint(self, x: int, y: int, width: int, height: int, colour: Colour) -> None:
        area = self._canvas.clipped(x, y, width, height)
        if area.width and area.height:
            self._canvas.fill(area, colour)
            self._dirty.append(area)

    def _draw_noise(self, frame_number: int) -> None:
        area, plane, pool = self._noise_area, self._canvas.y, self._noise_pool
        width = area.width
        span = _NOISE_BYTES - width
        offset = frame_number * 40_503
        first = area.y * self.width + area.x
        for start in range(first, first + area.height * self.width, self.width):
            offset = (offset + 25_717) % span
            plane[start : start + width] = pool[offset : offset + width]

    def _draw_car(self, car: _Car, frame_number: int) -> None:
        lane = self.width + 2 * car.width
        x = (car.start + car.speed * frame_number) % lane - car.width
        self._paint(x, car.top + car.height // 3, car.width, car.height // 2, car.colour)
        self._paint(x + car.width // 5, car.top, car.width * 3 // 5, car.height // 3, _GLASS)
        wheel = car.height // 4
        for at in (car.width // 6, car.width * 5 // 6 - wheel):
            self._paint(x + at, car.top + car.height * 3 // 4, wheel, wheel, _TYRE)

    def _draw_ball(self, frame_number: int) -> None:
        size = 2 * len(self._ball)
        top, bottom = self._grid.height, self.height
        x = _bounce(frame_number * max(2, self.width // 160), self.width - size)
        y = top + _bounce(frame_number * max(2, self.height // 120), bottom - top - size)
        for row in self._ball:
            self._paint((x & ~1) + row.x, (y & ~1) + row.y, row.width, row.height, _BALL)

    def _draw_text(self, frame_number: int, capture_us: int) -> None:
        scale = self._text.scale
        moment = datetime_from_us(capture_us).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        y = self._grid.height + 2 * scale & ~1
        for line in (f"{moment} UTC", f"FRAME {frame_number:08d}"):
            area = self._canvas.clipped(0, y, self._text.width(len(line)) + 3 * scale, self._text.height + 3 * scale)
            self._canvas.fill(area, (16, _GREY, _GREY))
            self._dirty.append(area)
            self._canvas.luma_rows(2 * scale, y + scale, self._text.rows(line), scale)
            y += area.height


def check_size(width: int, height: int) -> None:
    """Raises VmsError(INVALID) unless a scene of this size can be drawn and coded as 4:2:0."""
    fits = MIN_WIDTH <= width <= MAX_WIDTH and MIN_HEIGHT <= height <= MAX_HEIGHT
    if not fits or width % 2 or height % 2:
        raise VmsError(
            ErrorKind.INVALID,
            f"a picture of {width}x{height} cannot be generated: use even numbers from {MIN_WIDTH}x{MIN_HEIGHT}"
            f" to {MAX_WIDTH}x{MAX_HEIGHT}",
        )


def _background(width: int, height: int, generator: random.Random) -> Canvas:
    canvas = Canvas(width, height)
    horizon = height // 3 & ~1
    road_top, road_bottom = height // 2 & ~1, height * 9 // 10 & ~1
    for y in range(0, horizon, 2):
        canvas.fill(Rectangle(0, y, width, 2), (_SKY[0] + 40 * y // horizon, _SKY[1] - 10 * y // horizon, _SKY[2]))
    canvas.fill(Rectangle(0, horizon, width, height - horizon & ~1), _GRASS)
    canvas.fill(Rectangle(0, road_top, width, road_bottom - road_top), _ROAD)
    middle = (road_top + road_bottom) // 2 & ~1
    dash = max(4, width // 20 & ~1)
    for x in range(0, width - dash, 2 * dash):
        canvas.fill(Rectangle(x, middle, dash, max(2, height // 120 & ~1)), _LINE)
    # Grass and asphalt have grain, so that a keyframe costs what one of a real scene costs.
    grain = bytes(byte % 24 for byte in generator.randbytes(width + 4096))
    for y in range(horizon, height):
        start = y * width
        offset = generator.randrange(4096)
        row = canvas.y[start : start + width]
        canvas.y[start : start + width] = bytes(map(int.__add__, row, grain[offset : offset + width]))
    return canvas


def _cars(width: int, height: int, generator: random.Random) -> tuple[_Car, ...]:
    cars = []
    for n, colour in enumerate(_CAR_COLOURS):
        lane = n % 3
        size = height // 9 + lane * height // 40
        direction = 1 if lane else -1
        cars.append(
            _Car(
                width=size * 2 & ~1,
                height=size & ~1,
                top=(height // 2 + lane * height * 2 // 15) & ~1,
                speed=direction * max(2, (width // 200 + lane * width // 320) & ~1),
                start=n * width // 3 + generator.randrange(width // 8),
                colour=colour,
            )
        )
    return tuple(cars)


def _disc(diameter: int) -> tuple[Rectangle, ...]:
    """A filled circle as strips two pixels high."""
    radius = diameter / 2
    strips = []
    for y in range(0, diameter, 2):
        half = (radius**2 - (y + 1 - radius) ** 2) ** 0.5
        inset = round(radius - half) & ~1
        strips.append(Rectangle(inset, y, diameter - 2 * inset, 2))
    return tuple(strips)


def _noise_area(canvas: Canvas, share: float) -> Rectangle:
    """A panel of that share of the picture at the right edge, under the stamp and above the bottom."""
    side = max(0.0, min(1.0, share)) ** 0.5
    width, height = round(canvas.width * side) & ~1, round(canvas.height * side) & ~1
    return canvas.clipped(canvas.width - width, canvas.height - height, width, height)


def _bounce(travelled: int, room: int) -> int:
    position = travelled % (2 * room)
    return position if position <= room else 2 * room - position
