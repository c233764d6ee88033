"""The RTSP server against players that are not ours: ffmpeg, ffprobe and GStreamer."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from vms.common.stream import VideoCodec
from vms.media.codec import Decoder, open_video
from vms.media.nal import split_annex_b, split_lengths
from vms.media.pattern_clip import make_test_clip
from vms.media.pattern_stamp import read_stamp
from vms.media.rtsp.server import RtspServer
from vms.media.rtsp.server_session import ServerLimits, ViewerStats
from vms.media.rtsp.url import Credentials
from vms.media.simulate import SimulatorSettings, run_simulator

_ASSETS = Path(__file__).parents[3] / "shared" / "assets" / "video"
_FFMPEG = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
_GSTREAMER = pytest.mark.skipif(shutil.which("gst-launch-1.0") is None, reason="gst-launch-1.0 is not installed")
_FRAMES = 60


async def _run(*command: str) -> tuple[str, str]:
    """Output and errors of a program that must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), 40)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    return out.decode(), errors.decode()


@asynccontextmanager
async def _cameras(settings: SimulatorSettings, ended: list[ViewerStats] | None = None) -> AsyncIterator[RtspServer]:
    ready: asyncio.Future[RtspServer] = asyncio.get_running_loop().create_future()
    on_end = ended.append if ended is not None else None
    task = asyncio.create_task(run_simulator(settings, ready=ready.set_result, on_session_end=on_end))
    try:
        yield await ready
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _clip(kind: str, folder: Path) -> Path:
    """One second of video, so that the frames cross the end of the loop more than once."""
    path = folder / f"{kind}.mp4"
    if kind == "h264":
        make_test_clip(path, width=640, height=360, fps=25, seconds=1, bitrate_bps=1_000_000, gop=25)
        return path
    codec = {
        "h264-b-frames": ("-c:v", "libx264", "-bf", "3", "-g", "13"),
        "h265": ("-c:v", "libx265", "-x265-params", "log-level=none:keyint=13:bframes=0:repeat-headers=0"),
        "h265-b-frames": ("-c:v", "libx265", "-x265-params", "log-level=none:keyint=13:bframes=3:open-gop=0"),
    }[kind]
    source = "testsrc2=size=640x360:rate=25:duration=1,noise=alls=20"
    await _run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, *codec, "-pix_fmt", "yuv420p", str(path))
    return path


async def _hashes(*options: str) -> list[str]:
    """One hash per decoded picture."""
    out, _ = await _run("ffmpeg", "-v", "error", *options, "-f", "framehash", "-hash", "md5", "-")
    return [line.rsplit(",", 1)[1].strip() for line in out.splitlines() if line and not line.startswith("#")]


async def _record(url: str, target: Path, form: str) -> None:
    source = ("-rtsp_transport", "tcp", "-i", url)
    await _run("ffmpeg", "-v", "error", *source, "-map", "0:v", "-c", "copy", "-f", form, str(target))


def _is_parameter_set(nal: bytes, codec: VideoCodec) -> bool:
    # Players move parameter sets about: between the description, the stream and the file's header.
    return nal[0] & 0x1F in {7, 8} if codec is VideoCodec.H264 else nal[0] >> 1 & 0x3F in {32, 33, 34}


def _assert_received_as_sent(path: Path, received: Path, stats: ViewerStats) -> None:
    """The NAL units that a player wrote as a byte stream are those of the frames that it was sent."""
    video = open_video(path)
    frames = [list(split_lengths(unit.payload)) for unit in video.access_units()]
    assert stats.first_index is not None
    assert (stats.frames_dropped, stats.unsent_bytes) == (0, 0)
    sent = [nal for n in range(stats.frames) for nal in frames[(stats.first_index + n) % len(frames)]]
    expected = [nal.rstrip(b"\0") for nal in sent if not _is_parameter_set(nal, video.codec)]
    got = [nal for nal in split_annex_b(received.read_bytes()) if not _is_parameter_set(nal, video.codec)]
    assert len(got) == len(expected)
    assert got == expected


@_FFMPEG
@pytest.mark.parametrize("kind", ["h264", "h264-b-frames", "h265", "h265-b-frames"])
async def test_ffmpeg_gets_the_source_bit_by_bit_over_several_loops(kind: str, tmp_path: Path) -> None:
    path, received = await _clip(kind, tmp_path), tmp_path / "received"
    ended: list[ViewerStats] = []
    settings = SimulatorSettings(file=path, port=0, cameras=2, limits=ServerLimits(frames_per_session=_FRAMES))
    async with _cameras(settings, ended) as server:
        await _record(f"rtsp://127.0.0.1:{server.port}/cam1", received, "hevc" if "h265" in kind else "h264")
    assert [stats.frames for stats in ended] == [_FRAMES]
    _assert_received_as_sent(path, received, ended[0])


@_FFMPEG
@pytest.mark.parametrize("kind", ["h264-b-frames", "h265-b-frames"])
async def test_ffmpeg_decodes_the_pictures_of_the_source_without_a_complaint(kind: str, tmp_path: Path) -> None:
    path = await _clip(kind, tmp_path)
    source = await _hashes("-i", str(path))
    settings = SimulatorSettings(file=path, port=0, limits=ServerLimits(frames_per_session=_FRAMES))
    async with _cameras(settings) as server:
        url = f"rtsp://127.0.0.1:{server.port}/cam0"
        received = await _hashes("-rtsp_transport", "tcp", "-i", url, "-vsync", "passthrough")
    start = source.index(received[0])
    assert len(received) == _FRAMES
    # The last frames in decoding order are output too, but the ones between them were not sent any more.
    complete = received[:-4]
    assert complete == [source[(start + n) % 25] for n in range(len(complete))]


@_FFMPEG
async def test_timestamps_go_on_evenly_across_the_end_of_the_loop(tmp_path: Path) -> None:
    path = await _clip("h264-b-frames", tmp_path)
    settings = SimulatorSettings(file=path, port=0, limits=ServerLimits(frames_per_session=_FRAMES))
    async with _cameras(settings) as server:
        out, _ = await _run(
            "ffprobe", "-v", "error", "-rtsp_transport", "tcp", "-show_entries", "packet=pts", "-of", "json",
            f"rtsp://127.0.0.1:{server.port}/cam0",
        )  # fmt: skip
    # ffprobe gives no time for the very first packet of a stream with B-frames, whoever serves it.
    pts = sorted(packet["pts"] for packet in json.loads(out)["packets"][1:])
    assert len(pts) == _FRAMES - 1
    # Between the last frames in output order are some that come later in decoding order, and were not sent any more.
    assert {b - a for a, b in pairwise(pts[:-4])} == {3600}


@_FFMPEG
async def test_a_player_that_asks_for_udp_first_falls_back_to_tcp(tmp_path: Path) -> None:
    path = await _clip("h264", tmp_path)
    settings = SimulatorSettings(file=path, port=0, limits=ServerLimits(frames_per_session=30))
    async with _cameras(settings) as server:
        out, _ = await _run(
            "ffprobe", "-v", "error", "-count_packets",
            "-show_entries", "stream=codec_name,width,height,nb_read_packets", "-of", "json", f"rtsp://127.0.0.1:{server.port}/cam0",
        )  # fmt: skip
    (stream,) = json.loads(out)["streams"]
    assert stream == {"codec_name": "h264", "width": 640, "height": 360, "nb_read_packets": "30"}


@_FFMPEG
async def test_ffmpeg_logs_in_with_digest_and_is_refused_with_the_wrong_password(tmp_path: Path) -> None:
    path = await _clip("h264", tmp_path)
    settings = SimulatorSettings(
        file=path, port=0, credentials=Credentials("admin", "pa ss"), limits=ServerLimits(frames_per_session=10)
    )
    async with _cameras(settings) as server:
        probe = (
            "ffprobe",
            "-v",
            "error",
            "-rtsp_transport",
            "tcp",
            "-show_entries",
            "stream=codec_name",
            "-of",
            "json",
        )
        out, _ = await _run(*probe, f"rtsp://admin:pa%20ss@127.0.0.1:{server.port}/cam0")
        assert json.loads(out)["streams"][0]["codec_name"] == "h264"
        with pytest.raises(AssertionError, match="401"):
            await _run(*probe, f"rtsp://admin:wrong@127.0.0.1:{server.port}/cam0")


@_FFMPEG
async def test_stamps_of_the_scene_are_read_from_what_ffmpeg_recorded(tmp_path: Path) -> None:
    recording = tmp_path / "recording.mp4"
    settings = SimulatorSettings(port=0, bitrate_bps=1_000_000, limits=ServerLimits(frames_per_session=50))
    async with _cameras(settings) as server:
        url = f"rtsp://127.0.0.1:{server.port}/cam0"
        await _run("ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", url, "-c", "copy", str(recording))
    video = open_video(recording)
    decoder = Decoder(video.parameters())
    pictures = [p for unit in video.access_units() for p in decoder.decode(unit.payload, unit.pts)] + decoder.flush()
    stamps = [read_stamp(p.luma, p.width, p.height, p.stride) for p in pictures]
    assert len(stamps) == 50
    for picture, stamp, following in zip(pictures, stamps, stamps[1:], strict=False):
        assert stamp is not None, picture.pts
        assert following is not None
        frames = following.frame_number - stamp.frame_number
        assert frames >= 1
        assert following.capture_us - stamp.capture_us == frames * 40_000


@_GSTREAMER
@pytest.mark.parametrize("kind", ["h264", "h265", "h264-b-frames"])
async def test_gstreamer_receives_and_parses_every_frame(kind: str, tmp_path: Path) -> None:
    path = await _clip(kind, tmp_path)
    depayload, parse = ("rtph265depay", "h265parse") if kind == "h265" else ("rtph264depay", "h264parse")
    ended: list[ViewerStats] = []
    settings = SimulatorSettings(file=path, port=0, limits=ServerLimits(frames_per_session=_FRAMES))
    stream_format = "hvc1" if kind == "h265" else "avc"
    async with _cameras(settings, ended) as server:
        out, errors = await _run(
            "gst-launch-1.0", "-v", "rtspsrc", f"location=rtsp://127.0.0.1:{server.port}/cam0", "protocols=tcp",
            "!", depayload, "!", parse, "!", f"video/x-{kind[:4]},alignment=au,stream-format={stream_format}",
            "!", "fakesink", "silent=false", "sync=false",
        )  # fmt: skip
    assert len(re.findall(r"last-message = chain +\*", out)) == _FRAMES
    assert "ERROR" not in errors
    assert [stats.frames for stats in ended] == [_FRAMES]


@_GSTREAMER
async def test_gstreamer_falls_back_from_udp_too(tmp_path: Path) -> None:
    path = await _clip("h264", tmp_path)
    settings = SimulatorSettings(file=path, port=0, limits=ServerLimits(frames_per_session=30))
    async with _cameras(settings) as server:
        out, _ = await _run(
            "gst-launch-1.0", "-v", "rtspsrc", f"location=rtsp://127.0.0.1:{server.port}/cam0",
            "!", "rtph264depay", "!", "h264parse", "!", "video/x-h264,alignment=au,stream-format=avc",
            "!", "fakesink", "silent=false", "sync=false",
        )  # fmt: skip
    assert len(re.findall(r"last-message = chain +\*", out)) == 30


@_FFMPEG
@pytest.mark.skipif(not _ASSETS.exists(), reason="../shared/assets is not there")
@pytest.mark.parametrize("name", ["bottle-detection.mp4", "car-detection.mp4"])
async def test_real_camera_footage_arrives_bit_by_bit(name: str, tmp_path: Path) -> None:
    received = tmp_path / "received"
    ended: list[ViewerStats] = []
    settings = SimulatorSettings(file=_ASSETS / name, port=0, limits=ServerLimits(frames_per_session=40))
    async with _cameras(settings, ended) as server:
        await _record(f"rtsp://127.0.0.1:{server.port}/cam0", received, "h264")
    _assert_received_as_sent(_ASSETS / name, received, ended[0])
