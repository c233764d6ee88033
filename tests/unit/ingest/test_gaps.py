import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.common.errors import ErrorKind
from vms.common.types import CameraId
from vms.ingest.gaps import TOLERANCE_US, GapTracker, Interruption, cause_of
from vms.proto.messages import Gap, GapCause

CAMERA = CameraId("cam1")
SECOND = 1_000_000
NETWORK = Interruption(GapCause.NETWORK, "connection reset")
OFFLINE = Interruption(GapCause.CAMERA_OFFLINE, "refused")


@given(
    st.none() | st.integers(0, 10 * SECOND),
    st.lists(st.tuples(st.integers(-SECOND, 5 * SECOND), st.integers(0, SECOND))),
)
def test_recorded_time_and_gaps_together_leave_no_hole_beyond_the_tolerance(
    last_end_us: int | None, fragments: list[tuple[int, int]]
) -> None:
    tracker = GapTracker(CAMERA, last_end_us)
    covered_us = last_end_us
    at_us = last_end_us or 0
    for pause_us, duration_us in fragments:
        start_us = at_us + pause_us
        gap = tracker.recorded(start_us, start_us + duration_us)
        if covered_us is None:
            assert gap is None
        elif gap is None:
            assert start_us - covered_us <= TOLERANCE_US
        else:
            assert (gap.start_us, gap.end_us) == (covered_us, start_us)
            assert gap.end_us - gap.start_us > TOLERANCE_US
        at_us = start_us + duration_us
        covered_us = max(covered_us or 0, at_us)


def test_a_gap_has_the_first_cause_since_the_last_recorded_frame() -> None:
    tracker = GapTracker(CAMERA, 0)
    tracker.recorded(0, SECOND)
    tracker.interrupted(NETWORK)
    tracker.interrupted(OFFLINE)
    assert tracker.recorded(10 * SECOND, 11 * SECOND) == Gap(
        CAMERA, SECOND, 10 * SECOND, GapCause.NETWORK, "connection reset"
    )
    assert tracker.recorded(20 * SECOND, 21 * SECOND) == Gap(CAMERA, 11 * SECOND, 20 * SECOND, GapCause.UNKNOWN)


def test_the_time_before_the_first_frame_of_this_process_is_the_recorders_fault() -> None:
    tracker = GapTracker(CAMERA, SECOND)
    tracker.interrupted(OFFLINE)
    gap = tracker.recorded(10 * SECOND, 11 * SECOND)
    assert gap is not None
    assert gap.cause is GapCause.RECORDER_DOWN


def test_a_camera_that_was_never_recorded_has_no_gap_before_its_first_frame() -> None:
    assert GapTracker(CAMERA, None).recorded(10 * SECOND, 11 * SECOND) is None


def test_a_camera_clock_that_jumps_back_makes_no_gap_and_hides_none() -> None:
    tracker = GapTracker(CAMERA, 10 * SECOND)
    assert tracker.recorded(5 * SECOND, 6 * SECOND) is None
    assert tracker.recorded(10 * SECOND, 11 * SECOND) is None
    gap = tracker.recorded(20 * SECOND, 21 * SECOND)
    assert gap is not None
    assert gap.start_us == 11 * SECOND


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (ErrorKind.AUTH, GapCause.AUTH),
        (ErrorKind.UNREACHABLE, GapCause.CAMERA_OFFLINE),
        (ErrorKind.TIMEOUT, GapCause.NETWORK),
        (ErrorKind.STORAGE, GapCause.DISK_FULL),
        (ErrorKind.INTERNAL, GapCause.UNKNOWN),
    ],
)
def test_errors_have_their_word_in_the_ledger(kind: ErrorKind, cause: GapCause) -> None:
    assert cause_of(kind) is cause
