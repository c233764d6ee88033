import dataclasses
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.recordings import (
    CAMERA,
    START_US,
    Encoded,
    assert_decodes_silently,
    decoded_frames,
    encoded,
    ffprobe_times,
    fragment,
    record,
    split,
)

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, Container, VideoCodec
from vms.format.boxes import walk
from vms.format.clip import Clip, build_clip
from vms.format.model import Fragment
from vms.format.reader import SegmentReader
from vms.format.recording import RecordingWriter

both = pytest.mark.parametrize("container", list(Container))


def save(clip: Clip, path: Path) -> Path:
    data = clip.header
    for part in clip.parts:
        data += part.path.read_bytes()[part.offset : part.offset + part.size]
    assert len(data) == clip.total_size
    path.write_bytes(data)
    return path


def clip_of(paths: list[Path], start_s: float, end_s: float) -> Clip:
    start_us, end_us = START_US + round(start_s * 1e6), START_US + round(end_s * 1e6)
    readers = [SegmentReader.open(path) for path in paths]
    try:
        spans = [(reader, reader.records.overlapping(start_us, end_us)) for reader in readers]
        return build_clip(spans, start_us=start_us, end_us=end_us)
    finally:
        for reader in readers:
            reader.close()


def with_parameter_sets(stream: Encoded) -> Encoded:
    """The stream as cameras send it, with SPS and PPS before each keyframe; ffmpeg's parser wants them on a change."""
    avcc = stream.params.codec_private
    sps_end = 8 + int.from_bytes(avcc[6:8], "big")
    pps_size = int.from_bytes(avcc[sps_end + 1 : sps_end + 3], "big")
    sets = b"\0\0" + avcc[6:sps_end] + b"\0\0" + avcc[sps_end + 1 : sps_end + 3 + pps_size]
    units = [
        AccessUnit(u.seq, u.pts_90k, u.dts_90k, u.capture_us, u.flags, sets + u.payload if u.is_keyframe else u.payload)
        for u in stream.units
    ]
    return Encoded(stream.params, units)


def recorded(root: Path, parts: list[Fragment], container: Container, codec: VideoCodec, rotation_s: int) -> list[Path]:
    writer = RecordingWriter(root, CAMERA, container=container, rotation_s=rotation_s)
    for part in parts:
        writer.write(encoded(codec).params, part, 0.0)
    writer.close()
    return sorted(root.rglob("video_*"))


@both
@pytest.mark.parametrize("codec", list(VideoCodec))
def test_a_clip_begins_at_the_keyframe_before_and_plays_without_a_message(
    tmp_path: Path, container: Container, codec: VideoCodec
) -> None:
    paths = recorded(tmp_path, split(encoded(codec).units), container, codec, 3600)
    clip = clip_of(paths, 1.7, 3.2)
    assert clip.start_us == START_US + 1_000_000
    assert clip.end_us == pytest.approx(START_US + 3_200_000, abs=80_000)
    path = save(clip, tmp_path / "clip.mp4")
    dts, pts = ffprobe_times(path)
    assert min(pts) == pytest.approx(0, abs=1e-6), "the edit list lets the presentation begin at 0"
    assert all(a < b for a, b in pairwise(dts))
    assert decoded_frames(path) == clip.frames == len(pts)


@both
@pytest.mark.parametrize("codec", list(VideoCodec))
def test_a_clip_across_files_is_one_timeline(tmp_path: Path, container: Container, codec: VideoCodec) -> None:
    paths = recorded(tmp_path, split(encoded(codec).units), container, codec, 1)
    assert len(paths) == 4
    clip = clip_of(paths, 0, 10)
    assert clip.frames == 100
    path = save(clip, tmp_path / "clip.mp4")
    _, pts = ffprobe_times(path)
    assert sorted(pts) == pytest.approx([i / 25 for i in range(100)], abs=1e-4)
    assert decoded_frames(path) == 100


@both
def test_over_a_gap_the_last_frame_stays(tmp_path: Path, container: Container) -> None:
    parts = split(encoded(VideoCodec.H264).units)
    for part in parts[2:]:
        part.wall_us += 30_000_000
        part.flags |= 2
    within = recorded(tmp_path / "a", parts, container, VideoCodec.H264, 3600)
    across = recorded(tmp_path / "b", parts, container, VideoCodec.H264, 10)
    assert (len(within), len(across)) == (1, 2)
    for number, paths in enumerate((within, across)):
        path = save(clip_of(paths, 0, 60), tmp_path / f"{number}.mp4")
        _, pts = ffprobe_times(path)
        steps = [b - a for a, b in pairwise(sorted(pts))]
        assert max(steps) == pytest.approx(30.04, abs=0.01)
        assert_decodes_silently(path)


def test_files_of_different_parameters_have_a_sample_entry_each(tmp_path: Path) -> None:
    small = with_parameter_sets(encoded(VideoCodec.H264))
    large = with_parameter_sets(encoded(VideoCodec.H264, frames=50, b_frames=0, size="320x180"))
    writer = RecordingWriter(tmp_path, CAMERA, container=Container.MP4)
    for part in split(small.units):
        writer.write(small.params, part, 0.0)
    for part in split(large.units, start_us=START_US + 4_000_000):
        writer.write(large.params, part, 0.0)
    writer.close()
    clip = clip_of(sorted(tmp_path.rglob("video_*")), 0, 60)
    assert clip.header.count(b"avcC") == 2
    path = save(clip, tmp_path / "clip.mp4")
    _, pts = ffprobe_times(path)
    assert len(set(pts)) == len(pts) == 150
    assert max(pts[:100]) < min(pts[100:]), "frames held back for reordering are shown before the next file's"
    assert_decodes_silently(path)


def test_two_codecs_in_one_clip_are_refused(tmp_path: Path) -> None:
    paths = []
    for number, codec in enumerate(VideoCodec):
        root = tmp_path / codec
        parts = split(encoded(codec).units, start_us=START_US + number * 4_000_000)
        paths += recorded(root, parts, Container.MP4, codec, 3600)
    with pytest.raises(VmsError) as caught:
        clip_of(paths, 0, 60)
    assert caught.value.kind is ErrorKind.UNSUPPORTED


def test_a_time_without_recordings_is_not_found(tmp_path: Path) -> None:
    path = record(tmp_path, [fragment(0)], Container.MP4)
    with pytest.raises(VmsError) as caught:
        clip_of([path], 50, 60)
    assert caught.value.kind is ErrorKind.NOT_FOUND


def test_parts_of_mp4_are_joined_where_nothing_is_left_out(tmp_path: Path) -> None:
    path = record(tmp_path, [fragment(i) for i in range(5)], Container.MP4)
    assert len(clip_of([path], 0, 60).parts) == 5


def test_a_file_after_a_clock_step_back_follows_without_overlap(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path, CAMERA, container=Container.MP4)
    stream = encoded(VideoCodec.H264, b_frames=0)
    for part, seconds in zip(split(stream.units), (60, 61, 10, 11), strict=True):
        part.wall_us = START_US + seconds * 1_000_000
        writer.write(stream.params, part, 0.0)
    writer.close()
    readers = [SegmentReader.open(path) for path in sorted(tmp_path.rglob("video_*"))]
    clip = build_clip([(r, range(len(r.records))) for r in readers], start_us=START_US, end_us=START_US + 10**9)
    for reader in readers:
        reader.close()
    dts, _ = ffprobe_times(save(clip, tmp_path / "clip.mp4"))
    assert dts == pytest.approx([i * 0.04 for i in range(100)], abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-9000, 9000), st.integers(0, 9000), st.booleans()), min_size=1, max_size=30),
    st.integers(0, 2_000_000),
    st.integers(0, 2_000_000),
)
def test_any_times_make_a_well_formed_movie(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, bool]], start: int, length: int
) -> None:
    units, dts = [], 0
    for number, (composition, step, is_key) in enumerate(rows):
        key = int(is_key or number == 0)
        units.append(AccessUnit(number, dts + composition, dts, START_US, key, b"\0\0\0\1\x65"))
        dts += step
    root = tmp_path_factory.mktemp("root")
    path = record(root, split(units, seconds=0.3), Container.MP4)
    with SegmentReader.open(path) as reader:
        span = [(reader, range(len(reader.records)))]
        try:
            clip = build_clip(span, start_us=START_US + start, end_us=START_US + start + length)
        except VmsError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise
            return
    data = save(clip, root / "clip.mp4").read_bytes()
    assert [b.kind for b in walk(data)] == [b"ftyp", b"moov", b"mdat"]
    assert sum(part.size for part in clip.parts) == 5 * clip.frames


def test_the_clip_of_an_open_hour_ends_at_its_last_fragment(tmp_path: Path) -> None:
    stream = encoded(VideoCodec.H264)
    path = record(tmp_path, split(stream.units), Container.MP4, dataclasses.replace(stream.params), close=False)
    clip = clip_of([path], 0, 3600)
    assert clip.frames == 100
    assert_decodes_silently(save(clip, tmp_path / "clip.mp4"))
