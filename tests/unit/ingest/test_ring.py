import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.recordings import PARAMS, unit

from vms.common.stream import AccessUnit, FrameFlag
from vms.ingest.ring import FrameRing


@st.composite
def streams(draw: st.DrawFn) -> list[AccessUnit]:
    """A keyframe, then frames at any pace, any of them a keyframe."""
    units, dts = [], 0
    for seq in range(draw(st.integers(1, 60))):
        one = unit(seq, key=seq == 0 or draw(st.integers(0, 9)) == 0, size=draw(st.integers(10, 500)))
        one.dts_90k = one.pts_90k = dts
        units.append(one)
        dts += draw(st.integers(0, 60_000))
    return units


@settings(max_examples=40)
@given(streams(), st.integers(1, 10))
def test_with_memory_enough_the_current_gop_is_always_whole(units: list[AccessUnit], seconds: int) -> None:
    ring = FrameRing(seconds=seconds, max_bytes=1 << 30)
    keyframe = 0
    for count, one in enumerate(units, 1):
        ring.append(one)
        keyframe = one.seq if one.is_keyframe else keyframe
        assert ring.gop() == units[keyframe:count]


def test_a_gop_longer_than_the_ring_is_kept_from_its_keyframe_on() -> None:
    ring = FrameRing(seconds=1, max_bytes=1 << 20)
    units = [unit(seq, key=seq in {0, 10, 260}) for seq in range(300)]
    for one in units[:260]:
        ring.append(one)
    assert ring.since(0) == []
    assert ring.gop() == units[10:260]
    for one in units[260:]:
        ring.append(one)
    assert ring.gop() == units[260:]
    assert len(ring) == 40


@settings(max_examples=40)
@given(streams(), st.integers(1, 3), st.integers(10, 3000))
def test_it_holds_the_newest_frames_without_a_hole_and_no_older_than_asked(
    units: list[AccessUnit], seconds: int, max_bytes: int
) -> None:
    ring = FrameRing(seconds=seconds, max_bytes=max_bytes)
    for count, one in enumerate(units, 1):
        ring.append(one)
        held = ring.since(count - len(ring))
        assert held == units[count - len(ring) : count]
        assert ring.size_bytes == sum(len(other.payload) for other in held)
        assert ring.size_bytes <= max_bytes or held == [one]
        keyframe = max(other.seq for other in units[:count] if other.is_keyframe)
        oldest_90k = one.dts_90k - seconds * 90_000
        assert all(other.dts_90k >= oldest_90k or other.seq >= keyframe for other in held)


@settings(max_examples=40)
@given(streams(), st.integers(-5, 70))
def test_a_replay_is_complete_from_the_number_asked_for_or_empty(units: list[AccessUnit], seq: int) -> None:
    ring = FrameRing(seconds=1, max_bytes=1 << 20)
    for one in units:
        ring.append(one)
    first = units[-1].seq + 1 - len(ring)
    assert ring.since(seq) == (units[seq:] if seq >= first else [])


def test_a_group_of_pictures_that_lost_its_start_is_not_shown() -> None:
    ring = FrameRing(seconds=8, max_bytes=100)
    for seq in range(5):
        ring.append(unit(seq, key=seq == 0, size=40))
    assert len(ring) == 2
    assert ring.gop() == []


def test_before_the_first_keyframe_there_is_no_picture() -> None:
    ring = FrameRing(seconds=8, max_bytes=1000)
    assert ring.gop() == []
    ring.append(unit(0))
    assert ring.gop() == []


def test_new_parameters_make_older_frames_useless() -> None:
    ring = FrameRing(seconds=8, max_bytes=1000)
    ring.set_parameters(PARAMS)
    ring.append(unit(0, key=True))
    other = dataclasses.replace(PARAMS, width=640)
    ring.set_parameters(other)
    assert (ring.parameters, len(ring), ring.size_bytes, ring.gop()) == (other, 0, 0, [])


def test_after_clear_frames_of_the_next_connection_start_anew() -> None:
    ring = FrameRing(seconds=8, max_bytes=1000)
    ring.append(unit(5, key=True))
    ring.clear()
    late = unit(6)
    late.dts_90k = 0
    ring.append(late)
    assert ring.gop() == []
    late.flags |= FrameFlag.KEYFRAME
    ring.clear()
    ring.append(late)
    assert ring.gop() == [late]
