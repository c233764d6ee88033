"""The schedule of simulated cameras."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.rtsp_viewer import DESCRIPTION, PARAMETERS

from vms.common.clock import ManualClock, SystemClock
from vms.common.errors import ErrorKind, VmsError
from vms.common.types import FrameRate
from vms.media.clip import Clip, clip_of
from vms.media.codec import CodedPicture, EncoderSettings
from vms.media.rtsp.feed import StreamDescription
from vms.media.simulate_frames import PatternSource, TimedFrame, Timeline, clip_frames, pattern_frames


def _clip(time_base: Fraction, order: list[int], step: int) -> Clip:
    pictures = [
        CodedPicture(pts * step, step, n == 0, b"\0\0\0\2" + (b"\x65" if n == 0 else b"\x41") + bytes([n]))
        for n, pts in enumerate(order)
    ]
    return clip_of(PARAMETERS, time_base, pictures)


async def _take(clip: Clip, count: int, clock: ManualClock) -> list[TimedFrame]:
    taken: list[TimedFrame] = []
    async with aclosing(clip_frames(clip, DESCRIPTION, clock)) as frames:
        async for timed in frames:
            clock.advance(max(0.0, timed.due - clock.monotonic()))
            taken.append(timed)
            if len(taken) == count:
                break
    return taken


async def test_the_loop_goes_on_without_a_jump_in_any_clock() -> None:
    clip = _clip(Fraction(1, 25), [0, 3, 1, 2, 6, 4, 5], step=1)
    taken = await _take(clip, 70, ManualClock())
    frames = [timed.frame for timed in taken]
    assert [frame.index for frame in frames] == list(range(70))
    assert {b.sequence - a.sequence for a, b in pairwise(frames)} == {1}
    assert {b - a for a, b in pairwise(sorted(frame.rtp_timestamp for frame in frames))} == {3600}
    assert [frame.keyframe for frame in frames] == [n % 7 == 0 for n in range(70)]
    assert [round(timed.due * 25, 6) for timed in taken] == list(range(70))
    assert {timed.interval for timed in taken} == {0.04}


async def test_fractional_frame_rates_do_not_drift() -> None:
    clip = _clip(Fraction(1001, 24_000), list(range(5)), step=1)
    taken = await _take(clip, 1001, ManualClock())
    base = taken[0].frame.rtp_timestamp
    assert taken[1000].frame.rtp_timestamp - base == round(1000 * 1001 / 24_000 * 90_000)
    assert taken[1000].due == pytest.approx(1000 * 1001 / 24_000, abs=1e-6)
    steps = {b.frame.rtp_timestamp - a.frame.rtp_timestamp for a, b in pairwise(taken)}
    assert steps <= {3753, 3754}


async def test_capture_times_follow_output_order_and_precede_sending() -> None:
    clock = ManualClock()
    start_us = clock.now_us()
    taken = await _take(_clip(Fraction(1, 25), [0, 3, 1, 2], step=1), 8, clock)
    for timed in taken:
        assert timed.frame.capture_us <= start_us + timed.due * 1e6
    captures = sorted((timed.frame.rtp_timestamp, timed.frame.capture_us) for timed in taken)
    assert {b[1] - a[1] for a, b in pairwise(captures)} == {40_000}


async def test_after_a_long_pause_the_schedule_starts_anew() -> None:
    clock = ManualClock()
    clip = _clip(Fraction(1, 25), list(range(10)), step=1)
    async with aclosing(clip_frames(clip, DESCRIPTION, clock)) as frames:
        first = await anext(frames)
        clock.advance(3600)
        second = await anext(frames)
        third = await anext(frames)
    assert second.due == pytest.approx(3600)
    assert third.due - second.due == pytest.approx(0.04)
    assert second.frame.rtp_timestamp - first.frame.rtp_timestamp == 3600
    assert second.frame.capture_us - first.frame.capture_us == pytest.approx(3600e6, abs=50_000)


@given(st.floats(-5000, 5000), st.floats(0, 100))
@settings(max_examples=100)
def test_a_stepped_wall_clock_is_followed_and_a_slewed_one_is_not(step: float, media: float) -> None:
    clock = ManualClock()
    timeline = Timeline(clock)
    origin = timeline.wall_us(0)
    clock.advance(media)
    clock.step(step)
    timeline.follow(media)
    moved = timeline.wall_us(0) - origin
    expected = round(step * 1e6) if abs(step) > 0.05 else 0
    assert abs(moved - expected) <= 2 or abs(abs(step) - 0.05) < 1e-5
    assert timeline.due(media) == media


def test_the_pattern_knows_its_parameters_before_it_starts() -> None:
    source = PatternSource(EncoderSettings(320, 240, FrameRate(10), 100_000, gop=10), noise=0.0)
    parameters = source.parameters()
    assert (parameters.width, parameters.height, parameters.frame_rate) == (320, 240, 10.0)
    assert source.capture(0, 1)[0].keyframe


def test_an_impossible_pattern_is_refused_before_it_starts() -> None:
    with pytest.raises(VmsError) as caught:
        PatternSource(EncoderSettings(321, 240, FrameRate(10), 100_000, gop=10), noise=0.0).parameters()
    assert caught.value.kind is ErrorKind.INVALID


async def test_pattern_frames_come_at_their_rate_and_leave_no_task_behind() -> None:
    source = PatternSource(EncoderSettings(160, 120, FrameRate(100), 100_000, gop=5), noise=0.0)
    description = StreamDescription(source.parameters(), ssrc=1)
    with ThreadPoolExecutor(max_workers=1) as worker:
        taken: list[TimedFrame] = []
        async with aclosing(pattern_frames(source, description, SystemClock(), worker)) as frames:
            async for timed in frames:
                taken.append(timed)
                if len(taken) == 20:
                    break
    assert taken[0].frame.keyframe
    assert {timed.interval for timed in taken} == {0.01}
    for a, b in pairwise(taken):
        ticks = b.frame.rtp_timestamp - a.frame.rtp_timestamp
        assert ticks > 0
        assert ticks % 900 == 0  # slots may be left out on a busy machine, but are never bent
        assert b.frame.capture_us - a.frame.capture_us == pytest.approx(ticks * 1e6 / 90_000, abs=1)
