from pathlib import Path

from tests.support.http import api_app

from vms.common.camera import CameraState, CameraStatus
from vms.common.types import CameraId
from vms.proto.convert import encode


async def test_cameras_are_counted_by_what_their_workers_report(tmp_path: Path) -> None:
    async with api_app(tmp_path) as api:
        for camera_id, state in (("a", CameraState.ONLINE), ("b", CameraState.ONLINE), ("c", CameraState.OFFLINE)):
            status = CameraStatus(camera_id=CameraId(camera_id), state=state, since_us=1)
            api.statuses.update(camera_id, encode(status))
        text = (await api.client.get("/metrics")).text
        assert 'vms_api_cameras{state="online"} 2.0' in text
        assert 'vms_api_cameras{state="offline"} 1.0' in text
        assert "vms_api_projection_behind 1.0" in text
