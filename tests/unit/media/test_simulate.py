"""The simulator as a whole, on loopback."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.rtsp_viewer import Viewer

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec
from vms.media.codec import Decoder
from vms.media.extradata import parameters_of
from vms.media.nal import join_lengths
from vms.media.pattern_clip import make_test_clip
from vms.media.pattern_stamp import Stamp, read_stamp
from vms.media.rtsp.server import RtspServer
from vms.media.rtsp.server_session import ServerLimits, ViewerStats
from vms.media.simulate import MAX_CAMERAS, SimulatorSettings, run_simulator

_PATTERN = SimulatorSettings(port=0, width=320, height=240, fps=25, bitrate_bps=300_000, gop_seconds=0.4)


@asynccontextmanager
async def _running(settings: SimulatorSettings, ended: list[ViewerStats] | None = None) -> AsyncIterator[RtspServer]:
    ready: asyncio.Future[RtspServer] = asyncio.get_running_loop().create_future()
    on_end = ended.append if ended is not None else None
    task = asyncio.create_task(run_simulator(settings, ready=ready.set_result, on_session_end=on_end))
    try:
        yield await ready
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def _access_unit(viewer: Viewer) -> tuple[int, list[bytes]]:
    """Timestamp and NAL units of the next frame (RFC 6184)."""
    nals: list[bytes] = []
    while True:
        channel, packet = await viewer.packet()
        if channel != 0:
            continue
        body, kind = packet[12:], packet[12] & 0x1F
        if kind == 24:
            rest = body[1:]
            while rest:
                size = int.from_bytes(rest[:2], "big")
                nals.append(rest[2 : 2 + size])
                rest = rest[2 + size :]
        elif kind == 28:
            if body[1] & 0x80:
                nals.append(bytes([body[0] & 0xE0 | body[1] & 0x1F]))
            nals[-1] += body[2:]
        else:
            nals.append(body)
        if packet[1] & 0x80:
            return int.from_bytes(packet[4:8], "big"), nals


async def test_a_viewer_of_the_scene_reads_the_stamp_of_every_frame() -> None:
    async with _running(replace(_PATTERN, cameras=3)) as server, Viewer(server.port) as viewer:
        await viewer.play("cam2")
        units = [await _access_unit(viewer) for _ in range(15)]
    decoder = Decoder(parameters_of(VideoCodec.H264, units[0][1]))
    pictures = [p for timestamp, nals in units for p in decoder.decode(join_lengths(nals), timestamp)] + decoder.flush()
    stamps = [read_stamp(p.luma, p.width, p.height, p.stride) for p in pictures]
    assert len(stamps) == 15
    first = stamps[0]
    assert isinstance(first, Stamp)
    for picture, stamp in zip(pictures, stamps, strict=True):
        assert stamp is not None
        number = (picture.pts - units[0][0]) // 3600
        assert stamp.frame_number == first.frame_number + number
        assert stamp.capture_us - first.capture_us == number * 40_000


async def test_all_cameras_send_the_same_frames() -> None:
    async with _running(replace(_PATTERN, cameras=2)) as server, Viewer(server.port) as a, Viewer(server.port) as b:
        await a.play("cam0")
        await b.play("cam1")
        ours = dict([await _access_unit(a) for _ in range(12)])
        theirs = dict([await _access_unit(b) for _ in range(12)])
    common = ours.keys() & theirs.keys()
    assert len(common) >= 2
    assert all(ours[timestamp] == theirs[timestamp] for timestamp in common)


async def test_a_camera_that_does_not_exist_is_not_found() -> None:
    async with _running(_PATTERN) as server, Viewer(server.port) as viewer:
        assert (await viewer.request("DESCRIBE", "cam1")).status == 404
        assert (await viewer.request("DESCRIBE", "cam0")).status == 200


async def test_each_session_ends_after_the_asked_frames_and_tells_which(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    make_test_clip(path, width=160, height=120, fps=50, seconds=0.2, bitrate_bps=100_000, gop=5)
    settings = SimulatorSettings(file=path, port=0, cameras=2, limits=ServerLimits(frames_per_session=25))
    ended: list[ViewerStats] = []
    async with _running(settings, ended) as server, Viewer(server.port) as viewer:
        await viewer.play("cam1")
        stamps = [(await _access_unit(viewer))[0] for _ in range(25)]
        assert await viewer.at_end()
    assert {b - a for a, b in pairwise(stamps)} == {1800}
    (stats,) = ended
    assert (stats.path, stats.frames, stats.frames_dropped, stats.unsent_bytes) == ("cam1", 25, 0, 0)
    assert stats.first_index is not None
    assert stats.last_index == stats.first_index + 24


async def test_the_worker_thread_ends_with_the_simulator() -> None:
    async with _running(_PATTERN):
        assert any(thread.name.startswith("vms-simulator") for thread in threading.enumerate())
    assert not any(thread.name.startswith("vms-simulator") for thread in threading.enumerate())


@pytest.mark.parametrize(
    "settings",
    [
        replace(_PATTERN, cameras=0),
        replace(_PATTERN, cameras=MAX_CAMERAS + 1),
        replace(_PATTERN, fps=0),
        replace(_PATTERN, bitrate_bps=1),
        replace(_PATTERN, width=321),
        replace(_PATTERN, gop_seconds=0),
    ],
)
async def test_impossible_settings_are_refused_in_one_line(settings: SimulatorSettings) -> None:
    with pytest.raises(VmsError) as caught:
        await run_simulator(settings)
    assert caught.value.kind is ErrorKind.INVALID
    assert "\n" not in caught.value.message


async def test_a_missing_file_and_a_port_in_use_are_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(VmsError, match="there is no file"):
        await run_simulator(SimulatorSettings(file=tmp_path / "no.mp4", port=0))
    async with _running(_PATTERN) as server:
        with pytest.raises(VmsError, match="in use") as caught:
            await run_simulator(replace(_PATTERN, port=server.port))
    assert caught.value.kind is ErrorKind.CONFLICT
