from pathlib import Path
from struct import unpack_from

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
    unit,
)

from vms.common.stream import Container, VideoCodec
from vms.format import fmp4
from vms.format.boxes import walk
from vms.format.facts import FileHeader
from vms.format.model import Fragment, IndexRecord, sample_table


def moof_of(part: Fragment) -> bytes:
    table = sample_table(part)
    head = fmp4.fragment_buffers(table, sequence=7, media_start_90k=0, wall_us=part.wall_us, flags=1)[0][0]
    return bytes(head)


def sidx_of(
    count: int, room_bytes: int, keyframe_every: int = 1
) -> tuple[list[tuple[int, int, int]], list[IndexRecord]]:
    """The references of the sidx for so many fragments of sizes 1000, 1001, …"""
    facts = type(FACTS)(FACTS.camera_id, FACTS.params, room_bytes)
    header = FileHeader(facts, 0, 0, 0, is_closed=False)
    records, at = [], room_bytes
    for i in range(count):
        records.append(IndexRecord(0, i * 90_000, at, 1000 + i, 90_000, 25, int(i % keyframe_every == 0)))
        at += 1000 + i
    body, head = fmp4.closing(header, records, 0)
    data = head.data + body.data
    assert head.offset == 0
    size, rest = int.from_bytes(data[:4], "big"), int.from_bytes(data[-8:-4], "big")
    assert (data[4:8], data[-4:], size + rest) == (b"sidx", b"free", room_bytes)
    assert unpack_from(">Q", data, 28)[0] == rest, "first_offset counts from the end of the sidx"
    entries = unpack_from(">H", data, 38)[0]
    return [unpack_from(">III", data, 40 + 12 * i) for i in range(entries)], records


def test_without_reordering_a_frame_costs_eight_bytes_in_the_head() -> None:
    assert len(moof_of(fragment(0, frames=26))) - len(moof_of(fragment(0, frames=25))) == 8


def test_reordering_costs_four_bytes_more_per_frame() -> None:
    units = [unit(i, key=i == 0, reorder_90k=3600) for i in range(25)]
    plain = moof_of(fragment(0))
    assert len(moof_of(Fragment(units, 90_000, START_US))) - len(plain) == 4 * 25


def test_a_head_is_made_of_the_boxes_of_a_movie_fragment() -> None:
    head = moof_of(fragment(0))
    moof, *_ = walk(head[:-8])
    children = list(walk(head, moof.start, moof.end))
    assert [b.kind for b in children] == [b"mfhd", b"traf"]
    assert [b.kind for b in walk(head, children[1].start, children[1].end)] == [b"tfhd", b"tfdt", b"trun", b"uuid"]


def test_an_initialisation_segment_is_ftyp_and_moov() -> None:
    data = fmp4.init_segment(FACTS, START_US)
    assert [b.kind for b in walk(data)] == [b"ftyp", b"moov"]


def test_the_seek_table_has_one_reference_per_fragment_when_they_fit() -> None:
    references, records = sidx_of(100, fmp4.room_bytes(100))
    assert [(size, time, sap >> 31) for size, time, sap in references] == [(r.size, 90_000, 1) for r in records]


@pytest.mark.parametrize("keyframe_every", [1, 4, 1000])
def test_references_are_merged_when_there_are_more_than_fit(keyframe_every: int) -> None:
    references, records = sidx_of(1000, 1024, keyframe_every)
    assert len(references) <= (1024 - 48) // 12
    assert sum(size for size, _, _ in references) == sum(r.size for r in records)
    assert sum(duration for _, duration, _ in references) == 1000 * 90_000
    if keyframe_every == 4:
        assert all(sap >> 31 for _, _, sap in references), (
            "where merging by GOP is enough every one starts with a keyframe"
        )


def test_a_gap_belongs_to_the_reference_before_it() -> None:
    header = FileHeader(FACTS, 0, 0, 0, is_closed=False)
    records = [IndexRecord(0, 0, 0, 5, 90_000, 25, 1), IndexRecord(0, 900_000, 5, 5, 90_000, 25, 1)]
    body = fmp4.closing(header, records, 0)[0].data
    durations = [unpack_from(">I", body, 32 + 12 * i + 4)[0] for i in range(2)]
    assert durations == [900_000, 90_000]


def test_a_reference_beyond_two_gigabytes_leaves_the_file_without_a_seek_table() -> None:
    header = FileHeader(FACTS, 0, 0, 0, is_closed=False)
    assert fmp4.closing(header, [IndexRecord(0, 0, 0, 2**31, 1, 1, 1)], 0) == []


@pytest.mark.parametrize("codec", list(VideoCodec))
@pytest.mark.parametrize("is_closed", [True, False])
def test_ffmpeg_reads_every_frame_with_its_times(tmp_path: Path, codec: VideoCodec, is_closed: bool) -> None:  # noqa: FBT001
    stream = encoded(codec)
    path = record(tmp_path, split(stream.units), Container.MP4, stream.params, close=is_closed)
    dts, pts = ffprobe_times(path)
    assert dts == pytest.approx([u.dts_90k / 90_000 for u in stream.units], abs=1e-5)
    assert pts == pytest.approx([u.pts_90k / 90_000 for u in stream.units], abs=1e-5)
    assert decoded_frames(path) == len(stream.units)
