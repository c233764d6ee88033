import pytest

from vms.api.recordings.service import RecordingService
from vms.common.errors import ErrorKind, VmsError
from vms.common.types import CameraId


async def exists(_camera_id: CameraId) -> bool:
    return True


@pytest.mark.parametrize("kind", [ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT])
async def test_no_answer_of_storage_is_unavailable_whatever_the_reason(kind: ErrorKind) -> None:
    async def request(_subject: str, _payload: bytes, _timeout_s: float) -> bytes:
        raise VmsError(kind, "no reply")

    with pytest.raises(VmsError, match="storage service cannot be asked") as caught:
        await RecordingService(request, camera_exists=exists, timeout_s=1).get("cam_a", "rec_a")
    assert caught.value.kind is ErrorKind.UNAVAILABLE


async def test_an_answer_that_cannot_be_read_is_a_fault_of_the_peer() -> None:
    async def request(_subject: str, _payload: bytes, _timeout_s: float) -> bytes:
        return b"\xff\xff\xff"

    with pytest.raises(VmsError) as caught:
        await RecordingService(request, camera_exists=exists, timeout_s=1).get("cam_a", "rec_a")
    assert caught.value.kind is ErrorKind.PROTOCOL
