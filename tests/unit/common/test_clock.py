import time

from vms.common.clock import Clock, ManualClock, SystemClock


def test_the_system_clock_is_the_machines() -> None:
    clock: Clock = SystemClock()
    before = time.time_ns() // 1000
    now_us = clock.now_us()
    assert before <= now_us <= time.time_ns() // 1000
    first = clock.monotonic()
    assert first <= clock.monotonic() <= time.monotonic()


def test_a_manual_clock_stands_still_until_both_its_clocks_are_advanced() -> None:
    clock = ManualClock(5_000_000)
    assert (clock.now_us(), clock.monotonic()) == (5_000_000, 0.0)
    clock.advance(1.5)
    assert (clock.now_us(), clock.monotonic()) == (6_500_000, 1.5)


def test_a_step_moves_the_wall_clock_alone() -> None:
    clock = ManualClock(5_000_000)
    clock.step(-2)
    assert (clock.now_us(), clock.monotonic()) == (3_000_000, 0.0)
