from hypothesis import given
from hypothesis import strategies as st

from vms.common.camera import CameraState
from vms.common.errors import ErrorKind, VmsError
from vms.ingest.state import SessionState

DOWN = {CameraState.OFFLINE, CameraState.AUTH_FAILED}
UP = {CameraState.ONLINE, CameraState.DEGRADED}
# Every transition that a person may ever see; DISABLED belongs to cameras without a session.
POSSIBLE = {
    CameraState.CONNECTING: {CameraState.ONLINE, *DOWN},
    CameraState.ONLINE: {CameraState.DEGRADED, CameraState.CONNECTING, *DOWN},
    CameraState.DEGRADED: {CameraState.ONLINE, CameraState.CONNECTING, *DOWN},
    CameraState.OFFLINE: {CameraState.ONLINE, CameraState.AUTH_FAILED},
    CameraState.AUTH_FAILED: {CameraState.ONLINE, CameraState.OFFLINE},
}
errors = st.builds(VmsError, st.sampled_from(list(ErrorKind)), st.text(max_size=5))
events = st.tuples(st.sampled_from(["connecting", "frame", "failed", "checked"]), st.none() | errors)


def applied(state: SessionState, event: str, error: VmsError | None, now_us: int) -> SessionState:
    if event == "connecting":
        return state.connecting(now_us)
    if event == "frame":
        return state.frame(now_us)
    if event == "failed":
        return state.failed(error or VmsError(ErrorKind.CLOSED, "gone"), now_us, 2.0)
    return state.checked(error, now_us)


@given(st.lists(events, max_size=30))
def test_whatever_happens_only_possible_transitions_follow_and_the_facts_fit_the_state(
    happenings: list[tuple[str, VmsError | None]],
) -> None:
    state = SessionState(CameraState.CONNECTING, 0)
    for now_us, (event, error) in enumerate(happenings, 1):
        before, state = state, applied(state, event, error, now_us)
        if state.state is before.state:
            assert state.since_us == before.since_us
        else:
            assert state.state in POSSIBLE[before.state]
            assert state.since_us == now_us
        assert state.is_up == (state.state in UP)
        if state.state is CameraState.ONLINE:
            assert (state.last_error, state.last_error_kind, state.next_try_us) == (None, None, None)
        if state.state in {CameraState.DEGRADED, *DOWN}:
            assert state.last_error is not None
            assert state.last_error_kind is not None
        if state.next_try_us is not None:
            assert state.state in DOWN or event != "frame"


def test_a_camera_that_is_off_stays_offline_with_its_reason_while_it_is_tried() -> None:
    off = SessionState(CameraState.CONNECTING, 0).failed(VmsError(ErrorKind.UNREACHABLE, "refused"), 5, 1.5)
    assert (off.state, off.since_us, off.next_try_us) == (CameraState.OFFLINE, 5, 1_500_005)
    trying = off.connecting(9)
    assert trying == SessionState(CameraState.OFFLINE, 5, "refused", ErrorKind.UNREACHABLE, None)


def test_wrong_credentials_are_a_state_of_their_own() -> None:
    for kind in (ErrorKind.AUTH, ErrorKind.FORBIDDEN):
        failed = SessionState(CameraState.ONLINE, 0).failed(VmsError(kind, "refused"), 1, 1)
        assert failed.state is CameraState.AUTH_FAILED


def test_the_health_check_marks_and_clears_a_degraded_camera_and_leaves_others_alone() -> None:
    online = SessionState(CameraState.CONNECTING, 0).frame(1)
    slow = VmsError(ErrorKind.STORAGE, "the disk is behind")
    degraded = online.checked(slow, 2)
    assert degraded == SessionState(CameraState.DEGRADED, 2, "the disk is behind", ErrorKind.STORAGE)
    assert degraded.checked(slow, 3) == degraded
    assert degraded.checked(None, 4) == SessionState(CameraState.ONLINE, 4)
    connecting = SessionState(CameraState.CONNECTING, 0)
    assert connecting.checked(slow, 5) is connecting
