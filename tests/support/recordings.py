"""Recordings for tests: fragments of random or really encoded frames, and what ffprobe says of a file."""

import functools
import random
import subprocess
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from hypothesis import strategies as st

from vms.common.stream import AccessUnit, Container, FrameFlag, VideoCodec, VideoParameters
from vms.common.types import CameraId
from vms.format import layout
from vms.format.facts import FileFacts
from vms.format.model import Fragment, RecordingEvent, SegmentClosed
from vms.format.recording import RecordingWriter

CAMERA = CameraId("cam_0123456789")
START_US = 1_772_359_200_000_000  # 2026-03-01T10:00:00Z
KEYFRAME = int(FrameFlag.KEYFRAME)

PARAMS = VideoParameters(
    codec=VideoCodec.H264,
    width=320,
    height=240,
    codec_private=bytes.fromhex("0142c00dffe100046742c00d010004 68ce3880"),
    codec_string="avc1.42c00d",
    frame_rate=25.0,
)
FACTS = FileFacts(CAMERA, PARAMS, 4096)


def unit(number: int, *, key: bool = False, size: int = 40, step_90k: int = 3600, reorder_90k: int = 0) -> AccessUnit:
    """A frame with a payload that is one NAL unit of ``size`` bytes and says its number."""
    body = (b"\x65" if key else b"\x41") + number.to_bytes(4, "big")
    payload = (size - 4).to_bytes(4, "big") + body + bytes([number % 251 + 1]) * (size - 9)
    dts = number * step_90k
    return AccessUnit(number, dts + reorder_90k, dts, START_US + dts * 100 // 9, KEYFRAME * key, payload)


def fragment(
    number: int, *, frames: int = 25, key: bool = True, size: int = 40, wall_us: int | None = None
) -> Fragment:
    """The ``number``th second of a 25 fps stream of numbered frames."""
    first = number * frames
    units = [unit(first + i, key=key and i == 0, size=size) for i in range(frames)]
    wall = START_US + number * frames * 40_000 if wall_us is None else wall_us
    return Fragment(units, frames * 3600, wall, KEYFRAME * key)


@st.composite
def random_fragments(draw: st.DrawFn, max_fragments: int = 5) -> list[Fragment]:
    """A session: frames of any size, with B-frame times, mid-fragment keyframes and gaps between fragments."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    dts = draw(st.integers(0, 2**33))
    wall_us = START_US
    fragments = []
    for number in range(draw(st.integers(1, max_fragments))):
        units = []
        start = dts
        for i in range(draw(st.integers(1, 8))):
            is_key = i == 0 if number == 0 else draw(st.booleans())
            payload = rng.randbytes(draw(st.integers(1, 200)))
            data = len(payload).to_bytes(4, "big") + payload
            units.append(AccessUnit(0, dts + draw(st.integers(-9000, 20000)), dts, wall_us, int(is_key), data))
            dts += draw(st.integers(1, 20000))
        flags = draw(st.sampled_from([0, 2, 4, 8, 14])) if number else 0
        fragments.append(Fragment(units, dts - start, wall_us, flags))
        wall_us += (dts - start) * 100 // 9 + draw(st.sampled_from([0, 0, 1, 5_000_000]))
    return fragments


def record(
    root: Path, fragments: list[Fragment], container: Container, params: VideoParameters = PARAMS, *, close: bool = True
) -> Path:
    """Write fragments with a RecordingWriter; returns the media file that was begun first."""
    writer = RecordingWriter(root, CAMERA, container=container)
    events: list[RecordingEvent] = []
    for part in fragments:
        events += writer.write(params, part, 0.0)
    if close:
        assert isinstance(writer.close()[-1], SegmentClosed)
    elif writer._segment is not None:
        writer._segment.abandon()  # as a killed process does
    return root / events[0].path


def index_of(media_path: Path) -> bytes:
    """The bytes of a media file's index."""
    return layout.index_path(media_path).read_bytes()


@dataclass(frozen=True)
class Encoded:
    """A really encoded stream, as a camera would send it."""

    params: VideoParameters
    units: list[AccessUnit]


@functools.cache
def encoded(
    codec: VideoCodec, *, frames: int = 100, gop: int = 25, b_frames: int = 2, size: str = "192x108"
) -> Encoded:
    """Encode a test scene with ffmpeg at 25 fps. The slowest thing in these tests, so it is kept."""
    encoder, extra = ("libx264", ["-x264-params", "scenecut=0:open-gop=0"])
    if codec is VideoCodec.H265:
        encoder, extra = ("libx265", ["-x265-params", "log-level=none:open-gop=0:scenecut=0", "-tag:v", "hvc1"])
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "clip.mp4"
        source = f"testsrc=size={size}:rate=25"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-frames:v", str(frames)]
        command += ["-c:v", encoder, "-preset", "ultrafast", "-bf", str(b_frames), "-g", str(gop), *extra]
        subprocess.run([*command, "-pix_fmt", "yuv420p", str(path)], check=True)
        return read_clip(path)


def read_clip(path: Path) -> Encoded:
    """The video of a file as a session that begins at decode time 0."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        context = stream.codec_context
        codec = VideoCodec.H265 if context.name == "hevc" else VideoCodec.H264
        private = context.extradata or b""
        scale = Fraction(stream.time_base or 0) * 90_000
        packets = [packet for packet in file.demux(stream) if packet.size]
        name = f"avc1.{private[1:4].hex()}" if codec is VideoCodec.H264 else "hvc1.1.6.L60.90"
        params = VideoParameters(codec, context.width, context.height, private, name, 25.0, 2)
    first = packets[0].dts or 0
    units = []
    for number, packet in enumerate(packets):
        assert packet.pts is not None
        assert packet.dts is not None
        dts, pts = round((packet.dts - first) * scale), round((packet.pts - first) * scale)
        units.append(AccessUnit(number, pts, dts, START_US + dts * 100 // 9, int(packet.is_keyframe), bytes(packet)))
    return Encoded(params, units)


def split(units: list[AccessUnit], *, seconds: float = 1.0, start_us: int = START_US) -> list[Fragment]:
    """Cut a session into fragments at keyframes and after ``seconds``; wall time is that of the media."""
    groups: list[list[AccessUnit]] = []
    for au in units:
        if not groups or au.is_keyframe or au.dts_90k - groups[-1][0].dts_90k >= seconds * 90_000:
            groups.append([])
        groups[-1].append(au)
    ends = [group[0].dts_90k for group in groups[1:]] + [units[-1].dts_90k + 3600]
    return [
        Fragment(group, end - group[0].dts_90k, start_us + group[0].dts_90k * 100 // 9, group[0].flags)
        for group, end in zip(groups, ends, strict=True)
    ]


def ffprobe_times(path: Path) -> tuple[list[float], list[float]]:
    """(dts, pts) in seconds of the video packets that ffprobe finds, after a check that it complains of nothing.

    Matroska has no dts; ffprobe derives it from the pts and leaves it out for the first of reordered frames.
    """
    command = ["ffprobe", "-v", "warning", "-select_streams", "v", "-show_entries", "packet=dts_time,pts_time"]
    done = subprocess.run([*command, "-of", "csv=p=0", str(path)], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    rows = [line.strip(",").split(",") for line in done.stdout.split()]
    return [float(dts) for _, dts in rows if dts != "N/A"], [float(pts) for pts, _ in rows]


def decoded_frames(path: Path) -> int:
    """How many frames ffmpeg decodes, after a check that it complains of nothing."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v"]
    command += ["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert_decodes_silently(path)
    return int(done.stdout.split()[0].strip(","))


def assert_decodes_silently(path: Path) -> None:
    """Assert that ``ffmpeg -v error -i path -f null -`` prints nothing."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "null", "-"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
