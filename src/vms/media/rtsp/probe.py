"""Asks a camera what it sends: a session that ends with its first keyframe."""

import asyncio

from vms.common.camera import CameraInfo
from vms.common.clock import Clock, SystemClock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, VideoParameters
from vms.media.rtsp.session import CONNECT_TIMEOUT_S, RtspSession
from vms.media.rtsp.tick_reader import TickReader


async def probe(
    url: str,
    *,
    username: str = "",
    password: str = "",
    timeout_s: float = 2 * CONNECT_TIMEOUT_S,
    clock: Clock | None = None,
) -> CameraInfo:
    """Connect, wait for the first keyframe, and say what the camera is.

    Raises VmsError as a session does, and VmsError(TIMEOUT) when no keyframe comes in ``timeout_s``.
    """
    keyframe: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    parameters: list[VideoParameters] = []

    def on_unit(_: AccessUnit) -> None:
        if not keyframe.done():
            keyframe.set_result(None)

    session = RtspSession(
        url,
        username=username,
        password=password,
        reader=TickReader(),
        clock=clock or SystemClock(),
        on_parameters=parameters.append,
        on_unit=on_unit,
    )
    running = asyncio.ensure_future(session.run())
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.wait({running, keyframe}, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        raise VmsError(ErrorKind.TIMEOUT, f"the camera has sent no keyframe within {timeout_s:g} seconds") from None
    finally:
        running.cancel()
        await asyncio.wait({running})
    if not keyframe.done():
        await running  # raises what ended the session
    core = session.core
    assert core is not None
    assert core.description is not None
    found = parameters[-1]
    return CameraInfo(
        url=str(core.url),
        server=core.server,
        codec=found.codec,
        codec_string=found.codec_string,
        width=found.width,
        height=found.height,
        fps=found.frame_rate or core.description.video.frame_rate,
    )
