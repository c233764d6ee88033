"""Probing: what the camera is, or why not."""

import pytest
from tests.support.rtsp import FakeCamera, media_bytes, reply

from vms.common.errors import ErrorKind, VmsError
from vms.media.rtsp.probe import probe


async def test_a_camera_is_described_without_credentials() -> None:
    script = {"OPTIONS": reply(Server="Cam/1.0")}
    async with FakeCamera(script=script, media=[media_bytes(3)]) as camera:
        info = await probe(camera.url.replace("rtsp://", "rtsp://u:p@"))
        assert info.url == camera.url
        assert (info.codec, info.codec_string, info.server) == ("h264", "avc1.64001F", "Cam/1.0")
        assert (info.width, info.height, info.fps) == (640, 480, 25.0)
        await camera.until(lambda: camera.open_connections == 0)


async def test_what_ends_the_session_is_raised() -> None:
    async with FakeCamera(script={"DESCRIBE": reply(404, "Not Found")}) as camera:
        with pytest.raises(VmsError) as caught:
            await probe(camera.url)
        assert caught.value.kind is ErrorKind.NOT_FOUND


async def test_a_camera_without_keyframe_times_out() -> None:
    async with FakeCamera() as camera:
        with pytest.raises(VmsError, match="no keyframe within") as caught:
            await probe(camera.url, timeout_s=0.1)
        assert caught.value.kind is ErrorKind.TIMEOUT
        await camera.until(lambda: camera.open_connections == 0)
