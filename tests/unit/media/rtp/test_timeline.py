"""Media time: unwrapping, and DTS from PTS in decode order."""

import itertools
from collections.abc import Set as AbstractSet

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vms.media.rtp.timeline import MAX_JUMP_90K, Timeline

FRAME = 3600
ARRIVAL = 1_700_000_000_000_000


def run(
    timeline: Timeline, stamps: list[int], keyframes: AbstractSet[int] = frozenset({0})
) -> list[tuple[int, int, bool]]:
    return [
        timeline.advance(stamp & 0xFFFFFFFF, ARRIVAL + n * 40_000, keyframe=n in keyframes, new_source=False)
        for n, stamp in enumerate(stamps)
    ]


def decode_order(groups: int, b_frames: int) -> list[int]:
    """Output positions in decode order: each anchor before the B-frames in front of it, those nested or not."""
    order = [0]
    for group in range(groups):
        first = group * (b_frames + 1)
        order.append(first + b_frames + 1)
        order += list(range(first + 1, first + b_frames + 1))
    return order


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 20_000), max_size=60))
def test_timestamps_unwrap_to_their_distances(first: int, steps: list[int]) -> None:
    stamps = [first]
    for step in steps:
        stamps.append(stamps[-1] + step)
    result = run(Timeline(), stamps)
    assert [pts for pts, _, _ in result] == [stamp - first for stamp in stamps]
    assert [dts for _, dts, _ in result] == [stamp - first for stamp in stamps]
    assert [broken for *_, broken in result] == [True] + [False] * len(steps)


@pytest.mark.parametrize("b_frames", [1, 2, 3, 5])
def test_with_the_right_depth_dts_is_never_behind_pts_and_the_first_is_zero(b_frames: int) -> None:
    order = decode_order(10, b_frames)
    result = run(Timeline(1, 25), [position * FRAME for position in order])
    dts = [d for _, d, _ in result]
    assert dts[0] == 0
    assert all(d <= p for p, d, _ in result)
    assert all(later > earlier for earlier, later in itertools.pairwise(dts))
    assert [p for p, _, _ in result] == [(position + 1) * FRAME for position in order]
    assert dts == [n * FRAME for n in range(len(order))]


def test_pyramids_need_their_depth() -> None:
    # I0 P4 B2 b1 b3: depth 2
    order = [0, 4, 2, 1, 3, 8, 6, 5, 7]
    result = run(Timeline(2, 25), [position * FRAME for position in order])
    assert [d // FRAME for _, d, _ in result] == list(range(9))
    assert all(d <= p for p, d, _ in result)


@settings(max_examples=100)
@given(
    depth=st.integers(0, 20),
    stamps=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40),
    keyframes=st.sets(st.integers(0, 40)),
)
def test_dts_increases_strictly_whatever_comes(depth: int, stamps: list[int], keyframes: set[int]) -> None:
    result = run(Timeline(depth), stamps, keyframes)
    dts = [d for _, d, _ in result]
    assert all(later > earlier for earlier, later in itertools.pairwise(dts))


@settings(max_examples=60)
@given(st.permutations(range(1, 14)))
def test_with_the_depth_that_an_order_needs_dts_is_at_or_before_pts(rest: list[int]) -> None:
    order = [0, *rest]
    needed = max(sum(earlier > later for earlier in order[:n]) for n, later in enumerate(order))
    result = run(Timeline(needed, 25), [position * FRAME for position in order])
    assert all(d <= p for p, d, _ in result)


def test_an_unknown_depth_is_learnt_and_holds_from_the_next_keyframe() -> None:
    timeline = Timeline(0, 25)
    order = decode_order(4, 2)
    second = [order[-1] + 2 + position for position in order]
    result = run(timeline, [position * FRAME for position in [*order, *second]], {0, len(order)})
    assert timeline.reorder_frames == 1
    assert any(d > p for p, d, _ in result[: len(order)])
    assert all(d <= p for p, d, _ in result[len(order) :])


def test_declared_parameters_hold_from_the_next_keyframe() -> None:
    timeline = Timeline(0, 25)
    run(timeline, [0, FRAME])
    timeline.declare(2, 50)
    assert timeline.reorder_frames == 0
    timeline.advance(2 * FRAME, ARRIVAL + 80_000, keyframe=True, new_source=False)
    assert timeline.reorder_frames == 2


def test_a_new_source_continues_behind_the_old_one_by_arrival_time() -> None:
    timeline = Timeline(0, 25)
    run(timeline, [1000, 1000 + FRAME])
    pts, dts, broken = timeline.advance(77, ARRIVAL + 2_040_000, keyframe=True, new_source=True)
    assert (pts, dts, broken) == (FRAME + 180_000, FRAME + 180_000, True)
    pts, _, broken = timeline.advance(77 + FRAME, ARRIVAL + 2_080_000, keyframe=False, new_source=False)
    assert (pts, broken) == (2 * FRAME + 180_000, False)


@pytest.mark.parametrize("jump", [MAX_JUMP_90K + FRAME, -MAX_JUMP_90K, 1 << 31])
def test_a_jump_of_the_camera_clock_is_a_discontinuity(jump: int) -> None:
    timeline = Timeline(0, 25)
    run(timeline, [500, 500 + FRAME])
    pts, _, broken = timeline.advance(
        (500 + FRAME + jump) & 0xFFFFFFFF, ARRIVAL + 80_000, keyframe=False, new_source=False
    )
    assert (pts, broken) == (2 * FRAME, True)


def test_a_long_pause_that_the_camera_counts_too_is_none() -> None:
    timeline = Timeline(0, 25)
    run(timeline, [0])
    pts, _, broken = timeline.advance(3600 * 90_000, ARRIVAL + 3_600_000_000, keyframe=False, new_source=False)
    assert (pts, broken) == (3600 * 90_000, False)


def test_timestamps_near_the_latest_unit_map_to_pts() -> None:
    timeline = Timeline(0, 25)
    run(timeline, [0xFFFFFFF0, 0xFFFFFFF0 + FRAME])
    assert timeline.unwrap(0xFFFFFFF0) == 0
    assert timeline.unwrap((0xFFFFFFF0 + 2 * FRAME) & 0xFFFFFFFF) == 2 * FRAME
