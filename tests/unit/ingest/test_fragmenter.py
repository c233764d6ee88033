import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.ingest import stream
from tests.support.recordings import START_US, unit

from vms.common.stream import AccessUnit, FrameFlag
from vms.format.model import Fragment
from vms.ingest.fragmenter import Fragmenter

LIMIT_90K = 90_000


def cut(units: list[AccessUnit], **limits: int) -> list[Fragment]:
    """All fragments of a stream, the flushed one included."""
    fragmenter = Fragmenter(**limits)
    fragments = [fragment for one in units for fragment in fragmenter.add(one)]
    last = fragmenter.flush()
    assert fragmenter.flush() is None
    return [*fragments, *([last] if last else [])]


@st.composite
def streams(draw: st.DrawFn) -> list[AccessUnit]:
    """Frames at any pace, with keyframes, damaged frames and new connections anywhere."""
    units: list[AccessUnit] = []
    dts = draw(st.integers(0, 2**33))
    for seq in range(draw(st.integers(1, 80))):
        one = unit(seq, key=draw(st.integers(0, 9)) == 0, size=draw(st.integers(10, 100)))
        one.dts_90k = one.pts_90k = dts
        one.flags |= draw(st.sampled_from([0, 0, 0, 0, 0, 0, 0, FrameFlag.CORRUPT, FrameFlag.MOTION]))
        if draw(st.integers(0, 19)) == 0:
            one.flags |= FrameFlag.DISCONTINUITY
            one.dts_90k = one.pts_90k = dts = draw(st.integers(0, 2**33))
        units.append(one)
        dts += draw(st.sampled_from([0, 1, 3000, 3600, 3600, 3600, 18_000, 200_000]))
    return units


@settings(max_examples=40)
@given(streams(), st.sampled_from([9000, LIMIT_90K]), st.sampled_from([300, 8 << 20]))
def test_all_fragments_together_are_the_stream_each_frame_once_and_in_order(
    units: list[AccessUnit], limit_90k: int, max_bytes: int
) -> None:
    fragments = cut(units, limit_90k=limit_90k, max_bytes=max_bytes)
    assert [one for fragment in fragments for one in fragment.units] == units
    assert all(fragment.units and fragment.duration_90k > 0 for fragment in fragments)


@settings(max_examples=40)
@given(streams())
def test_a_keyframe_or_a_new_connection_always_begins_its_fragment(units: list[AccessUnit]) -> None:
    starts = FrameFlag.KEYFRAME | FrameFlag.DISCONTINUITY
    for fragment in cut(units):
        first, *others = fragment.units
        assert not any(one.flags & starts for one in others)
        assert fragment.flags & starts == first.flags & starts
        assert fragment.wall_us == first.capture_us


@settings(max_examples=40)
@given(streams())
def test_a_fragment_tells_of_damage_and_motion_anywhere_in_it(units: list[AccessUnit]) -> None:
    for fragment in cut(units):
        for flag in (FrameFlag.CORRUPT, FrameFlag.MOTION):
            assert bool(fragment.flags & flag) == any(one.flags & flag for one in fragment.units)


@settings(max_examples=40)
@given(streams(), st.sampled_from([9000, LIMIT_90K]))
def test_no_fragment_is_longer_than_the_limit_unless_its_last_frame_alone_is(
    units: list[AccessUnit], limit_90k: int
) -> None:
    for fragment in cut(units, limit_90k=limit_90k):
        first, last = fragment.units[0], fragment.units[-1]
        assert last.dts_90k - first.dts_90k < limit_90k
        last_frame_90k = fragment.duration_90k - (last.dts_90k - first.dts_90k)
        assert fragment.duration_90k <= limit_90k or len(fragment.units) == 1 or last_frame_90k > 3600


@given(
    st.sampled_from([1500, 3000, 3600, 6000, 18_000, 45_000, 90_000, 180_000]),
    st.integers(2, 100),
    st.integers(1, 60),
    st.sampled_from([9000, LIMIT_90K]),
)
def test_at_a_steady_pace_durations_add_up_and_stay_within_the_limit(
    interval_90k: int, frames: int, gop: int, limit_90k: int
) -> None:
    units = [unit(n, key=n % gop == 0, step_90k=interval_90k) for n in range(frames)]
    fragments = cut(units, limit_90k=limit_90k)
    for fragment, following in itertools.pairwise(fragments):
        own_90k = following.units[0].dts_90k - fragment.units[0].dts_90k
        # The very first frame's duration is a guess, and a frame may last longer than a fragment.
        if fragment is not fragments[0] and interval_90k <= limit_90k:
            assert fragment.duration_90k == own_90k
        assert fragment.duration_90k <= limit_90k or len(fragment.units) == 1
    if interval_90k <= 3600:
        span_90k = units[-1].dts_90k - units[0].dts_90k + interval_90k
        assert sum(fragment.duration_90k for fragment in fragments) == span_90k


@given(st.integers(1, 200), st.integers(1, 60))
def test_a_fragment_is_handed_out_before_the_frame_that_would_make_it_too_long(frames: int, gop: int) -> None:
    fragmenter = Fragmenter(limit_90k=LIMIT_90K)
    held = 0
    for one in stream(frames, gop=gop):
        held += 1
        for fragment in fragmenter.add(one):
            held -= len(fragment.units)
        # What a crash could lose now, and one frame more, is not longer than the limit.
        assert (held + 1) * 3600 <= LIMIT_90K


def test_a_second_of_25_fps_is_a_fragment_of_25_frames() -> None:
    assert [len(fragment.units) for fragment in cut(stream(60, gop=60))] == [25, 25, 10]


def test_the_time_between_two_connections_is_in_no_fragment() -> None:
    before, after = stream(10), stream(5, first=1000, discontinuity=True)
    first, second = cut([*before, *after])
    assert first.duration_90k == 10 * 3600
    assert second.duration_90k == 5 * 3600
    assert first.wall_us == START_US


def test_a_camera_that_pauses_gives_its_last_frame_the_time_until_the_next() -> None:
    units = stream(3, gop=100)
    units[2].dts_90k = 3600 + 200_000
    first, second = cut(units)
    assert [len(first.units), first.duration_90k] == [2, 203_600]
    assert second.units == [units[2]]


def test_frames_that_are_too_many_bytes_for_one_write_are_cut_earlier() -> None:
    assert [len(fragment.units) for fragment in cut(stream(10), max_bytes=150)] == [4, 4, 2]
