import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.recordings import (
    FACTS,
    START_US,
    decoded_frames,
    encoded,
    ffprobe_times,
    fragment,
    record,
    split,
)

from vms.common.stream import Container, VideoCodec
from vms.format import ebml, mkv
from vms.format.facts import FileFacts, FileHeader
from vms.format.model import Fragment, IndexRecord, sample_table


def elements(data: bytes, start: int, end: int) -> list[tuple[int, bytes]]:
    found = []
    while start < end:
        identifier, size, at = ebml.read_header(data, start)
        found.append((identifier, data[at : at + size]))
        start = at + size
    assert start == end
    return found


def test_a_cluster_is_a_timestamp_our_facts_and_a_block_per_frame() -> None:
    part = fragment(3, frames=5)
    buffers, size = mkv.fragment_buffers(
        sample_table(part), sequence=1, media_start_90k=270_000, wall_us=part.wall_us, flags=1
    )
    data = b"".join(buffers)
    assert ebml.read_header(data, 0) == (0x1F43B675, size - 12, 12)
    (time_id, time), (void_id, _), *blocks = elements(data, 12, size)
    assert (time_id, int.from_bytes(time, "big"), void_id) == (0xE7, 3000, 0xEC)
    assert [identifier for identifier, _ in blocks] == [0xA3] * 5
    assert [int.from_bytes(b[1:3], "big") for _, b in blocks] == [0, 40, 80, 120, 160]
    assert [b[3] for _, b in blocks] == [0x80, 0, 0, 0, 0]
    assert [b[4:] for _, b in blocks] == [u.payload for u in part.units]


def test_a_frame_more_than_32_seconds_after_the_first_keeps_its_exact_time_in_our_facts() -> None:
    units = fragment(0, frames=2).units
    units[1].dts_90k = units[1].pts_90k = 60 * 90_000
    buffers, size = mkv.fragment_buffers(
        sample_table(Fragment(units, 61 * 90_000, START_US)), sequence=1, media_start_90k=0, wall_us=0, flags=1
    )
    data = b"".join(buffers)
    assert mkv.read_fragment(lambda offset, n: data[offset : offset + n], 0, size)[1][1].pts_90k == 60 * 90_000


def test_cues_are_thinned_out_to_fit_their_room() -> None:
    facts = FileFacts(FACTS.camera_id, FACTS.params, 12 + 9 + 21 * 10)
    data = mkv.file_header(facts, START_US)
    header = mkv.read_header(lambda offset, n: data[offset : offset + n])
    records = [IndexRecord(0, i * 90_000, header.data_start + i, 1, 90_000, 25, 1) for i in range(95)]
    cues, head, *_ = mkv.closing(header, records, 0)
    patched = head.data + cues.data
    _, size, at = ebml.read_header(patched, 0)
    points = elements(patched, at, at + size)
    assert len(points) == 10
    assert len(patched) <= facts.room_bytes
    assert [elements(p, 0, len(p))[0][1] for _, p in points] == [(i * 10_000).to_bytes(4, "big") for i in range(10)]


def test_the_seek_head_points_at_info_tracks_and_cues() -> None:
    data = bytearray(mkv.file_header(FACTS, START_US))
    header = mkv.read_header(lambda offset, n: bytes(data[offset : offset + n]))
    for patch in mkv.closing(header, [IndexRecord(0, 0, header.data_start, 1, 90_000, 25, 1)], 0):
        data[patch.offset : patch.offset + len(patch.data)] = patch.data
    segment_at = data.index(b"\x18\x53\x80\x67") + 12
    _, size, at = ebml.read_header(bytes(data), segment_at)
    for _, seek in elements(bytes(data), at, at + size):
        (_, kind), (_, position) = elements(seek, 0, len(seek))
        place = segment_at + int.from_bytes(position, "big")
        assert data[place : place + 4] == kind


def test_a_time_beyond_what_a_date_element_holds_is_clamped() -> None:
    assert mkv.file_header(FACTS, 2**60)


def test_records_without_any_keyframe_still_get_one_cue() -> None:
    header = FileHeader(FACTS, 0, 5000, 9096, is_closed=False)
    cues = mkv.closing(header, [IndexRecord(0, 0, 9096, 1, 90_000, 25, 0)], 0)[0]
    assert cues.data.startswith(b"\xbb\x93")


@pytest.mark.parametrize("codec", list(VideoCodec))
@pytest.mark.parametrize("is_closed", [True, False])
def test_ffmpeg_reads_every_frame_with_its_times(tmp_path: Path, codec: VideoCodec, is_closed: bool) -> None:  # noqa: FBT001
    stream = encoded(codec)
    path = record(tmp_path, split(stream.units), Container.MKV, stream.params, close=is_closed)
    dts, pts = ffprobe_times(path)
    assert pts == pytest.approx([u.pts_90k / 90_000 for u in stream.units], abs=1e-3)
    assert all(a < b for a, b in pairwise(dts))
    assert decoded_frames(path) == len(stream.units)


@pytest.mark.parametrize("container", list(Container))
def test_ffmpeg_seeks_in_a_closed_file_to_the_keyframe_before(tmp_path: Path, container: Container) -> None:
    stream = encoded(VideoCodec.H264)
    path = record(tmp_path, split(stream.units), container, stream.params)
    command = ["ffprobe", "-v", "warning", "-read_intervals", "2.5%+#1", "-show_entries", "packet=pts_time"]
    done = subprocess.run([*command, "-of", "csv=p=0", str(path)], check=True, capture_output=True, text=True)
    assert float(done.stdout.split()[0].strip(",")) == pytest.approx(2.08)
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert float(done.stdout) == pytest.approx(4.08, abs=0.01)
