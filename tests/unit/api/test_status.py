from vms.api.status import StatusMirror
from vms.common.camera import CameraState, CameraStatus
from vms.common.clock import ManualClock
from vms.common.types import CameraId
from vms.proto.convert import encode

A = CameraId("cam_a")


def report(state: CameraState = CameraState.ONLINE) -> bytes:
    return encode(CameraStatus(camera_id=A, state=state, since_us=1))


def test_a_worker_that_falls_silent_is_forgotten() -> None:
    clock = ManualClock()
    mirror = StatusMirror(clock=clock, timeout_s=35)
    mirror.update(A, report())
    clock.advance(35)
    assert mirror.of(A) is not None
    clock.advance(0.1)
    assert mirror.of(A) is None


def test_a_deleted_status_is_forgotten_at_once() -> None:
    mirror = StatusMirror(clock=ManualClock(), timeout_s=35)
    mirror.update(A, report())
    mirror.update(A, None)
    assert mirror.of(A) is None


def test_a_status_that_cannot_be_read_counts_as_none() -> None:
    mirror = StatusMirror(clock=ManualClock(), timeout_s=35)
    mirror.update(A, report())
    mirror.update(A, b"\xff\xff\xff")
    assert mirror.of(A) is None
    assert mirror.invalid_total == 1


def test_a_step_of_the_wall_clock_forgets_nothing() -> None:
    clock = ManualClock()
    mirror = StatusMirror(clock=clock, timeout_s=35)
    mirror.update(A, report())
    clock.step(3600)
    assert mirror.counts() == {"online": 1}
