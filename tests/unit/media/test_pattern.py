"""The generated scene."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vms.common.errors import ErrorKind, VmsError
from vms.media.font import GLYPHS
from vms.media.pattern import Canvas, Rectangle, Scene
from vms.media.pattern_stamp import Stamp, read_stamp, stamp_grid

_CAPTURE_US = 1_772_359_200_123_456  # 2026-03-01 10:00:00.123456 UTC


def _planes(scene: Scene, number: int) -> tuple[bytes, bytes, bytes]:
    canvas = scene.draw(number, _CAPTURE_US + number * 40_000)
    return bytes(canvas.y), bytes(canvas.u), bytes(canvas.v)


@given(st.integers(80, 300), st.integers(60, 200), st.integers(0, 10**7), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_planes_keep_their_size_and_the_stamp_is_there_at_any_size(w: int, h: int, number: int, noise: float) -> None:
    width, height = 2 * w, 2 * h
    canvas = Scene(width, height, noise).draw(number, _CAPTURE_US)
    assert (len(canvas.y), len(canvas.u), len(canvas.v)) == (width * height, width * height // 4, width * height // 4)
    assert read_stamp(canvas.y, width, height, width) == Stamp(_CAPTURE_US, number % 65536)


def test_a_picture_depends_on_nothing_but_its_number_and_time() -> None:
    walked = Scene(640, 360)
    for number in range(60):
        walked.draw(number, _CAPTURE_US + number * 40_000)
    assert _planes(walked, 60) == _planes(Scene(640, 360), 60)


def test_things_move_between_pictures() -> None:
    scene = Scene(640, 360, noise=0)
    first, second = _planes(scene, 10), _planes(scene, 11)
    assert first[1] != second[1]  # coloured things, so neither text nor stamp
    below = (stamp_grid(640).height + 60) * 640
    assert 200 < sum(a != b for a, b in zip(first[0][below:], second[0][below:], strict=True)) < 640 * 360 // 4


def test_noise_covers_the_asked_part_of_the_picture_and_changes() -> None:
    scene = Scene(640, 360, noise=0.25)
    first, second = _planes(scene, 10)[0], _planes(scene, 11)[0]
    corner = [y * 640 + x for y in range(300, 360) for x in range(600, 640)]
    assert sum(first[at] != second[at] for at in corner) > len(corner) * 0.9


def _read_text(canvas: Canvas, top: int, scale: int, length: int) -> str:
    names = {rows: character for character, rows in GLYPHS.items()}
    text = ""
    for n in range(length):
        left = 2 * scale + n * 6 * scale
        rows = tuple(
            "".join(
                "#" if canvas.y[(top + scale + y * scale) * canvas.width + left + x * scale] > 128 else "."
                for x in range(5)
            )
            for y in range(7)
        )
        text += names.get(rows, "?")
    return text


def test_clock_and_frame_number_are_written_in_plain_text() -> None:
    canvas = Scene(1280, 720).draw(1234, _CAPTURE_US)
    scale = 4
    top = stamp_grid(1280).height + 2 * scale
    assert _read_text(canvas, top, scale, 27) == "2026-03-01 10:00:00.123 UTC"
    assert _read_text(canvas, top + 10 * scale, scale, 14) == "FRAME 00001234"


@pytest.mark.parametrize(
    ("width", "height"), [(159, 120), (158, 120), (160, 118), (161, 120), (640, 361), (8000, 400), (0, 0)]
)
def test_sizes_that_cannot_be_coded_are_refused_with_the_range(width: int, height: int) -> None:
    with pytest.raises(VmsError, match="160x120") as caught:
        Scene(width, height)
    assert caught.value.kind is ErrorKind.INVALID


@given(st.integers(-50, 120), st.integers(-50, 120), st.integers(0, 200), st.integers(0, 200))
@settings(max_examples=100)
def test_painting_never_leaves_the_picture(x: int, y: int, width: int, height: int) -> None:
    canvas = Canvas(100, 80)
    area = canvas.clipped(x, y, width, height)
    assert area.x % 2 == area.y % 2 == area.width % 2 == area.height % 2 == 0
    if area.width and area.height:
        assert area.x >= max(0, x)
        assert area.x + area.width <= min(100, x + width)
        canvas.fill(area, (200, 1, 2))
    assert len(canvas.y) == 8000
    assert canvas.y.count(200) == area.width * area.height
    assert canvas.u.count(1) == canvas.v.count(2) == area.width * area.height // 4


def test_copying_restores_exactly_the_area() -> None:
    background, canvas = Canvas(64, 48), Canvas(64, 48)
    canvas.fill(Rectangle(0, 0, 64, 48), (99, 98, 97))
    canvas.copy(background, Rectangle(8, 10, 20, 12))
    assert canvas.y.count(16) == 240
    assert canvas.u.count(128) == canvas.v.count(128) == 60
