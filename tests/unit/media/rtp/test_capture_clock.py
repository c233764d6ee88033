"""Capture time: the least delayed frame, the camera's reports, slewing and steps."""

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from vms.media.rtp.capture_clock import CaptureClock

T0 = 1_700_000_000_000_000
FRAME_90K = 3600
FRAME_US = 40_000


def play(
    clock: CaptureClock, frames: int, *, first: int = 0, delay_us: int = 0, drift: float = 0.0, host_step_us: int = 0
) -> list[tuple[int, bool]]:
    """Frames of a camera whose media clock is slow by ``drift``, each ``delay_us`` on its way."""
    return [
        clock.capture_us(n * FRAME_90K, T0 + round(n * FRAME_US * (1 + drift)) + delay_us + host_step_us)
        for n in range(first, first + frames)
    ]


def test_without_reports_capture_is_arrival_less_the_jitter() -> None:
    clock = CaptureClock()
    source = random.Random(3)
    play(clock, 25)
    for n in range(25, 250):
        captured, stepped = clock.capture_us(n * FRAME_90K, T0 + n * FRAME_US + source.randrange(80_000))
        assert captured == T0 + n * FRAME_US
        assert not stepped


def test_a_late_start_is_made_good_slowly() -> None:
    clock = CaptureClock()
    late, _ = clock.capture_us(0, T0 + 500_000)
    assert late == T0 + 500_000
    result = play(clock, 1000, first=1)
    steps = [b - a for (a, _), (b, _) in itertools.pairwise(result)]
    assert min(steps) == FRAME_US - FRAME_US // 50
    assert result[-1] == (T0 + 1000 * FRAME_US, False)


def test_a_sane_report_is_followed_and_its_offset_shown() -> None:
    clock = CaptureClock()
    play(clock, 25, delay_us=30_000)
    clock.sender_report(T0 + 25 * FRAME_US, 25 * FRAME_90K, T0 + 25 * FRAME_US + 30_000)
    result = play(clock, 500, first=25, delay_us=30_000)
    assert result[-1] == (T0 + 524 * FRAME_US, False)
    assert clock.clock_offset_us == -30_000


def test_a_camera_clock_that_is_far_off_is_shown_but_not_believed() -> None:
    clock = CaptureClock()
    play(clock, 25)
    clock.sender_report(T0 + 25 * FRAME_US - 3_600_000_000, 25 * FRAME_90K, T0 + 25 * FRAME_US)
    assert play(clock, 100, first=25)[-1] == (T0 + 124 * FRAME_US, False)
    assert clock.clock_offset_us == -3_600_000_000


def test_a_camera_clock_once_disbelieved_has_to_come_close_again() -> None:
    clock = CaptureClock()
    play(clock, 25)
    clock.sender_report(T0 + 25 * FRAME_US + 5_000_000, 25 * FRAME_90K, T0 + 25 * FRAME_US)
    clock.sender_report(T0 + 25 * FRAME_US + 1_500_000, 25 * FRAME_90K, T0 + 25 * FRAME_US)
    assert play(clock, 50, first=25)[-1] == (T0 + 74 * FRAME_US, False)
    clock.sender_report(T0 + 75 * FRAME_US + 10_000, 75 * FRAME_90K, T0 + 75 * FRAME_US)
    assert play(clock, 100, first=75)[-1] == (T0 + 174 * FRAME_US + 10_000, False)


def test_a_step_of_the_camera_clock_is_reported_once() -> None:
    clock = CaptureClock()
    play(clock, 25)
    clock.sender_report(T0 + 25 * FRAME_US + 1_500_000, 25 * FRAME_90K, T0 + 25 * FRAME_US)
    result = play(clock, 10, first=25)
    assert result[0] == (T0 + 25 * FRAME_US + 1_500_000, True)
    assert not any(stepped for _, stepped in result[1:])


def test_a_step_of_the_host_clock_back_is_followed_at_once_and_reported() -> None:
    clock = CaptureClock()
    play(clock, 100)
    result = play(clock, 100, first=100, host_step_us=-3_600_000_000)
    assert result[0] == (T0 + 100 * FRAME_US - 3_600_000_000, True)
    assert result[-1] == (T0 + 199 * FRAME_US - 3_600_000_000, False)


def test_a_step_of_the_host_clock_forward_is_followed_at_once_and_reported() -> None:
    clock = CaptureClock()
    play(clock, 100)
    result = play(clock, 100, first=100, host_step_us=3_600_000_000)
    assert result[0] == (T0 + 100 * FRAME_US + 3_600_000_000, True)


def test_a_burst_behind_a_stall_does_not_move_the_envelope() -> None:
    clock = CaptureClock()
    play(clock, 250)
    resumed = T0 + 500 * FRAME_US
    for n in range(250, 500):
        assert clock.capture_us(n * FRAME_90K, resumed) == (T0 + n * FRAME_US, False)


def test_drift_is_measured_and_followed() -> None:
    clock = CaptureClock()
    result = play(clock, 25 * 200, drift=0.001)
    assert clock.drift_ppm is not None
    assert 900 < clock.drift_ppm < 1100
    behind = T0 + round(4999 * FRAME_US * 1.001) - result[-1][0]
    assert 0 <= behind < 30_000
    assert not any(stepped for _, stepped in result)


def test_no_estimates_before_there_is_something_to_estimate_from() -> None:
    clock = CaptureClock()
    assert clock.clock_offset_us is None
    play(clock, 25)
    assert clock.clock_offset_us is None
    assert clock.drift_ppm is None


def test_a_restart_forgets_the_old_mapping() -> None:
    clock = CaptureClock()
    play(clock, 25)
    clock.sender_report(T0, 0, T0)
    clock.restart()
    assert clock.clock_offset_us is None
    assert clock.capture_us(9_000_000, T0 + 77) == (T0 + 77, False)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 9000), st.integers(0, 900_000)), min_size=2, max_size=80),
    st.integers(-900_000, 900_000),
)
def test_without_a_step_capture_times_keep_the_order_of_the_pictures(steps: list[tuple[int, int]], camera: int) -> None:
    clock = CaptureClock()
    pts = 0
    captured = []
    for n, (step, delay) in enumerate(steps):
        pts += step
        arrival = T0 + pts * 100 // 9 + delay
        if n == 5:
            clock.sender_report(arrival + camera, pts, arrival)
        captured.append(clock.capture_us(pts, arrival))
    for (earlier, _), (later, stepped) in itertools.pairwise(captured):
        assert stepped or later > earlier
