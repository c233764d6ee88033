import re

from hypothesis import given, settings
from hypothesis import strategies as st

from vms.common.stream import Container
from vms.format.model import IndexRecord
from vms.storage.playlist import MediaSegment, PlaylistFile, media_segments, vod_playlist

START_US = 1_772_359_200_000_000
KEY, JUMP = 1, 2


def records(
    count: int, *, gop: int = 2, duration_90k: int = 90_000, jump_at: int | None = None, start_us: int = START_US
) -> list[IndexRecord]:
    made = []
    for number in range(count):
        flags = (KEY if number % gop == 0 else 0) | (JUMP if number == jump_at else 0)
        wall = start_us + number * duration_90k * 100 // 9
        made.append(IndexRecord(wall, number * duration_90k, 1000 + number * 500, 500, duration_90k, 25, flags))
    return made


def file(made: list[IndexRecord], *, container: Container = Container.MP4, first: int = 0) -> PlaylistFile:
    return PlaylistFile("rec_a", container, 800, first, made)


def test_a_segment_is_whole_groups_of_pictures_of_at_least_four_seconds() -> None:
    segments = list(media_segments(records(11, gop=2), 0))
    assert [(segment.first, segment.count) for segment in segments] == [(0, 4), (4, 4), (8, 3)]
    assert [(segment.offset, segment.size) for segment in segments] == [(1000, 2000), (3000, 2000), (5000, 1500)]


def test_a_long_group_of_pictures_stays_whole() -> None:
    assert [segment.count for segment in media_segments(records(22, gop=10), 0)] == [10, 10, 2]


def test_numbers_count_from_the_first_record_of_the_file() -> None:
    assert [segment.first for segment in media_segments(records(8), 100)] == [100, 104]


def test_a_jump_in_time_begins_a_segment_that_does_not_follow() -> None:
    segments = list(media_segments(records(8, jump_at=2), 0))
    assert [(segment.count, segment.follows) for segment in segments] == [(2, False), (4, False), (2, True)]


def test_durations_are_those_to_the_next_frame_not_the_estimates() -> None:
    made = [record._replace(duration_90k=89_000) for record in records(5)]
    assert [segment.duration_90k for segment in media_segments(made, 0)] == [360_000, 89_000]


def test_an_mp4_playlist_points_into_the_files_by_byte_range() -> None:
    text = vod_playlist([file(records(5))])
    assert text.splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-TARGETDURATION:4",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        '#EXT-X-MAP:URI="media/rec_a.mp4",BYTERANGE="800@0"',
        "#EXT-X-PROGRAM-DATE-TIME:2026-03-01T10:00:00.000Z",
        "#EXTINF:4.000000,",
        "#EXT-X-BYTERANGE:2000@1000",
        "media/rec_a.mp4",
        "#EXT-X-PROGRAM-DATE-TIME:2026-03-01T10:00:04.000Z",
        "#EXTINF:1.000000,",
        "#EXT-X-BYTERANGE:500@3000",
        "media/rec_a.mp4",
        "#EXT-X-ENDLIST",
    ]


def test_a_matroska_playlist_asks_for_remuxed_fragments() -> None:
    lines = vod_playlist([file(records(5), container=Container.MKV, first=10)]).splitlines()
    assert '#EXT-X-MAP:URI="media/rec_a/init.mp4"' in lines
    assert [line for line in lines if not line.startswith("#")] == ["media/rec_a/10-4.m4s", "media/rec_a/14-1.m4s"]


def test_each_file_and_each_jump_has_a_discontinuity_and_its_own_map() -> None:
    later = records(4, start_us=START_US + 60_000_000)
    lines = vod_playlist([file(records(8, jump_at=4)), file([]), file(later)]).splitlines()
    assert sum(line.startswith("#EXT-X-MAP") for line in lines) == 3
    assert lines.count("#EXT-X-DISCONTINUITY") == 2
    for number, line in enumerate(lines):
        if line == "#EXT-X-DISCONTINUITY":
            assert lines[number + 1].startswith("#EXT-X-MAP")


def test_the_target_duration_is_the_longest_rounded_to_the_nearest_second() -> None:
    for seconds, target in ((6.4, 6), (6.5, 7), (0.2, 1)):
        text = vod_playlist([file(records(1, duration_90k=round(seconds * 90_000)))])
        assert f"#EXT-X-TARGETDURATION:{target}\n" in text


lists = st.lists(
    st.tuples(st.integers(1, 900_000), st.integers(1, 5000), st.sampled_from([0, KEY, JUMP, KEY | JUMP])),
    min_size=1,
    max_size=60,
)


@settings(max_examples=150)
@given(lists)
def test_every_byte_and_every_fragment_is_in_exactly_one_segment_and_no_duration_exceeds_the_target(
    rows: list[tuple[int, int, int]],
) -> None:
    made: list[IndexRecord] = []
    offset = media = 0
    for duration, size, flags in rows:
        media += duration if flags & JUMP else 0
        made.append(IndexRecord(START_US + media * 100 // 9, media, offset, size, duration, 1, flags))
        offset += size
        media += duration
    segments: list[MediaSegment] = list(media_segments(made, 0))
    assert [segment.first for segment in segments] == [0, *(s.first + s.count for s in segments[:-1])]
    assert sum(segment.count for segment in segments) == len(made)
    assert sum(segment.size for segment in segments) == offset
    text = vod_playlist([file(made)])
    target = int(re.findall(r"TARGETDURATION:(\d+)", text)[0])
    assert all(float(value) < target + 0.5 + 1e-6 for value in re.findall(r"EXTINF:([\d.]+)", text))
