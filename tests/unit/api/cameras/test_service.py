from vms.api.cameras.service import NO_WORKER, status_view
from vms.common.camera import CameraConfig, CameraState, CameraStatus
from vms.common.types import CameraId

CONFIG = CameraConfig(id=CameraId("a"), name="A", url="rtsp://h/1")


def test_silence_of_the_workers_is_an_error_for_an_enabled_camera_only() -> None:
    assert status_view(CONFIG, None).last_error == NO_WORKER
    disabled = status_view(CONFIG.model_copy(update={"enabled": False}), None)
    assert (disabled.state, disabled.last_error) == (CameraState.DISABLED, None)


def test_times_of_a_status_become_text_and_unknown_ones_stay_unknown() -> None:
    status = CameraStatus(camera_id=CONFIG.id, state=CameraState.OFFLINE, since_us=1_700_000_000_000_000, next_try_us=0)
    view = status_view(CONFIG, status)
    assert view.since == "2023-11-14T22:13:20.000000Z"
    assert view.next_try == "1970-01-01T00:00:00.000000Z"
    assert view.last_frame is None
