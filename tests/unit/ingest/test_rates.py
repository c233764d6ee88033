import pytest

from vms.ingest.rates import RateMeter


def test_a_steady_stream_has_its_rates_after_two_samples() -> None:
    meter = RateMeter()
    meter.sample(10.0, 0, 0)
    assert (meter.fps, meter.bitrate_bps) == (0, 0)
    meter.sample(11.0, 25, 500_000)
    assert (meter.fps, meter.bitrate_bps) == (25, 4_000_000)


def test_rates_follow_within_five_seconds_and_do_not_jump_with_one_sample() -> None:
    meter = RateMeter()
    for second in range(20):
        meter.sample(second, 25 * second, 0)
    meter.sample(20, 25 * 19, 0)
    assert meter.fps == pytest.approx(20)
    for second in range(21, 26):
        meter.sample(second, 25 * 19, 0)
    assert meter.fps == 0


def test_a_sampler_that_was_late_still_gets_the_mean() -> None:
    meter = RateMeter()
    meter.sample(0, 0, 0)
    meter.sample(100, 2500, 0)
    assert meter.fps == 25


def test_two_samples_at_the_same_instant_divide_by_nothing() -> None:
    meter = RateMeter()
    meter.sample(1, 0, 0)
    meter.sample(1, 10, 10)
    assert meter.fps == 0


def test_after_the_end_of_a_session_nothing_is_left() -> None:
    meter = RateMeter()
    meter.sample(0, 0, 0)
    meter.sample(1, 25, 100)
    meter.clear()
    assert (meter.fps, meter.bitrate_bps) == (0, 0)
    meter.sample(9, 1000, 1000)
    assert meter.fps == 0
