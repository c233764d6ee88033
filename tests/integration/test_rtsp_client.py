"""The RTSP client against a camera that is not ours: gst-rtsp-server, with real clips."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import av
import pytest

from vms.common.clock import SystemClock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, FrameFlag, VideoParameters
from vms.media.nal import split_lengths
from vms.media.rtsp.probe import probe
from vms.media.rtsp.session import RtspSession
from vms.media.rtsp.tick_reader import TickReader

SHARED = Path(__file__).parents[3] / "shared"
VIDEO = SHARED / "assets/video"
CAMERA = SHARED / "tools/rtsp_camera.py"
CAR = VIDEO / "car-detection.mp4"  # Baseline, 12.5 fps
BOTTLE = VIDEO / "bottle-detection.mp4"  # High, B-frames with a reorder depth of 2, long GOP
PEDESTRIANS = VIDEO / "pets09-s2l1_480x360_10fps.mp4"  # Main, B-frames with a reorder depth of 1

# Parameter sets and delimiters may be added or left out on the way; pictures and SEI may not.
H264_PASSING = {7, 8, 9}
H265_PASSING = {32, 33, 34, 35}


def _gstreamer_is_here() -> bool:
    if not Path("/usr/bin/python3").exists() or shutil.which("ffmpeg") is None:
        return False
    check = "import gi; gi.require_version('GstRtspServer', '1.0')"
    return subprocess.run(["/usr/bin/python3", "-c", check], capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.skipif(not CAMERA.is_file(), reason="the camera of ../shared/tools is not here"),
    pytest.mark.skipif(not _gstreamer_is_here(), reason="python3-gi with gst-rtsp-server, or ffmpeg, is not installed"),
]


@asynccontextmanager
async def camera(clip: Path, *options: str) -> AsyncIterator[str]:
    """The URL of a camera that plays the clip over and over."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = ["/usr/bin/python3", str(CAMERA), str(clip), "--port", str(port), "--minutes", "1.5", *options]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        ready = await asyncio.wait_for(process.stdout.readline(), 60)
        assert ready.startswith(b"ready"), ready
        yield f"rtsp://127.0.0.1:{port}/cam0"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@dataclass
class Recording:
    """What a session gave until there was enough of it."""

    units: list[AccessUnit] = field(default_factory=list)
    parameters: list[VideoParameters] = field(default_factory=list)

    async def take(self, url: str, count: int, *, username: str = "", password: str = "") -> "Recording":
        """Stay until ``count`` units have come."""
        enough = asyncio.Event()

        def on_unit(unit: AccessUnit) -> None:
            self.units.append(unit)
            if len(self.units) == count:
                enough.set()

        session = RtspSession(
            url,
            username=username,
            password=password,
            reader=TickReader(),
            clock=SystemClock(),
            on_parameters=self.parameters.append,
            on_unit=on_unit,
        )
        running = asyncio.ensure_future(session.run())
        waiting = asyncio.ensure_future(enough.wait())
        try:
            async with asyncio.timeout(60):
                await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await running  # raises why
            assert session.stats.lost_packets == 0
            assert session.stats.corrupt_units == 0
            assert session.stats.clock_offset_us is None or abs(session.stats.clock_offset_us) < 1_000_000
        finally:
            running.cancel()
            waiting.cancel()
            await asyncio.wait({running, waiting})
        return self


@dataclass
class Demuxed:
    """One packet of the clip as FFmpeg's demuxer gives it, times in 90 kHz."""

    nals: list[bytes]
    pts: int
    keyframe: bool


def demux(clip: Path, passing: set[int], kind: Callable[[bytes], int]) -> list[Demuxed]:
    """All video packets of an MP4 clip in decoding order, without the NAL units that may change on the way."""
    packets = []
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        for packet in container.demux(stream):
            if packet.pts is None:
                continue
            kept = [nal for nal in split_lengths(bytes(packet)) if kind(nal) not in passing]
            packets.append(Demuxed(kept, round(packet.pts * stream.time_base * 90_000), packet.is_keyframe))
    return packets


def check(recording: Recording, clip: Path, passing: set[int], kind: Callable[[bytes], int]) -> None:
    """The recording is the clip from its first frame on: the same bytes, order, distances and keyframes."""
    expected = demux(clip, passing, kind)
    got = [[nal for nal in split_lengths(unit.payload) if kind(nal) not in passing] for unit in recording.units]
    # Played in a loop: behind the last frame comes the first.
    frames = [expected[n % len(expected)] for n in range(len(got))]
    assert got == [frame.nals for frame in frames]
    assert [unit.is_keyframe for unit in recording.units] == [frame.keyframe for frame in frames]
    whole = min(len(got), len(expected))
    first = recording.units[0].pts_90k - expected[0].pts
    for unit, frame in zip(recording.units[:whole], expected, strict=False):
        assert abs(unit.pts_90k - frame.pts - first) <= 180  # Matroska in between counts milliseconds
    assert all(unit.dts_90k <= unit.pts_90k for unit in recording.units)
    assert all(later.dts_90k > earlier.dts_90k for earlier, later in pairwise(recording.units))
    assert recording.units[0].flags == FrameFlag.KEYFRAME | FrameFlag.DISCONTINUITY
    assert not any(unit.flags & ~FrameFlag.KEYFRAME for unit in recording.units[1:])
    assert len(recording.parameters) == 1


def h264_kind(nal: bytes) -> int:
    return nal[0] & 0x1F


def h265_kind(nal: bytes) -> int:
    return nal[0] >> 1 & 0x3F


async def test_digest_and_every_byte_of_a_baseline_clip() -> None:
    async with camera(CAR, "--user", "admin", "--password", 'p"ss wörd') as url:
        recording = await Recording().take(url, 60, username="admin", password='p"ss wörd')
        check(recording, CAR, H264_PASSING, h264_kind)
        parameters = recording.parameters[0]
        assert (parameters.width, parameters.height, parameters.frame_rate) == (768, 432, 12.5)
        assert parameters.reorder_frames == 0


async def test_b_frames_of_a_long_gop_keep_their_order_and_times() -> None:
    async with camera(BOTTLE) as url:
        recording = await Recording().take(url, 270)
        check(recording, BOTTLE, H264_PASSING, h264_kind)
        assert recording.parameters[0].reorder_frames == 2
        assert sum(unit.is_keyframe for unit in recording.units) >= 2


async def test_b_frames_of_a_camera_clip_keep_their_order_and_times() -> None:
    async with camera(PEDESTRIANS) as url:
        recording = await Recording().take(url, 60)
        check(recording, PEDESTRIANS, H264_PASSING, h264_kind)
        assert recording.parameters[0].reorder_frames >= 1


async def test_a_whole_loop_counts_every_frame_once(tmp_path: Path) -> None:
    clip = tmp_path / "short.mp4"
    cut = ["ffmpeg", "-v", "error", "-i", str(CAR), "-t", "2", "-an", "-c", "copy", str(clip)]
    subprocess.run(cut, check=True)  # noqa: ASYNC221 - a moment, before anything runs
    async with camera(clip) as url:
        recording = await Recording().take(url, 80)
        check(recording, clip, H264_PASSING, h264_kind)


async def test_h265_with_b_frames(tmp_path: Path) -> None:
    clip = tmp_path / "h265.mp4"
    make = ["ffmpeg", "-v", "error", "-i", str(CAR), "-t", "6", "-an", "-vf", "scale=384:216", "-c:v", "libx265"]
    options = ["-preset", "ultrafast", "-x265-params", "bframes=3:keyint=25:log-level=error", str(clip)]
    try:
        subprocess.run([*make, *options], check=True, capture_output=True)  # noqa: ASYNC221 - before anything runs
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this ffmpeg cannot encode H.265: {error.stderr.decode()[:200]}")
    async with camera(clip) as url:
        recording = await Recording().take(url, 60)
        check(recording, clip, H265_PASSING, h265_kind)
        parameters = recording.parameters[0]
        assert (parameters.codec, parameters.width, parameters.height) == ("h265", 384, 216)
        assert parameters.reorder_frames >= 1


async def test_basic_authentication_and_credentials_in_the_url() -> None:
    async with camera(CAR, "--user", "admin", "--password", "secret", "--auth", "basic") as url:
        info = await probe(url.replace("rtsp://", "rtsp://admin:secret@"))
        assert (info.codec, info.width, info.height, info.fps) == ("h264", 768, 432, 12.5)
        assert info.url == url
        await _fails(url, ErrorKind.AUTH, username="admin", password="wrong")


async def test_wrong_password_no_password_and_wrong_path() -> None:
    async with camera(CAR, "--user", "admin", "--password", "secret") as url:
        await _fails(url, ErrorKind.AUTH, username="admin", password="wrong")
        await _fails(url, ErrorKind.AUTH)
        await _fails(url.replace("cam0", "cam9"), ErrorKind.NOT_FOUND, username="admin", password="secret")


async def test_a_camera_without_tcp_is_unsupported() -> None:
    async with camera(CAR, "--transport", "udp") as url:
        await _fails(url, ErrorKind.UNSUPPORTED)


async def test_a_closed_port_is_unreachable() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    await _fails(f"rtsp://127.0.0.1:{port}/cam0", ErrorKind.UNREACHABLE)


async def _fails(url: str, kind: ErrorKind, **credentials: str) -> None:
    with pytest.raises(VmsError) as caught:
        await probe(url, **credentials)  # type: ignore[arg-type]
    assert caught.value.kind is kind
    assert "secret" not in str(caught.value)
    assert "wrong" not in str(caught.value)
