"""HLS playlists of a span of recordings (RFC 8216, version 7). Pure: index records in, text out.

fMP4 recordings are served as they are, by byte range; of Matroska recordings each media segment is remuxed on request.
A media segment holds whole groups of pictures, so that each can be decoded by itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from vms.common.stream import Container, FrameFlag
from vms.common.timestamps import datetime_from_us
from vms.format.model import IndexRecord

MIN_SEGMENT_90K: Final = 4 * 90_000

_KEYFRAME: Final = int(FrameFlag.KEYFRAME)
_DISCONTINUITY: Final = int(FrameFlag.DISCONTINUITY)


@dataclass(frozen=True, slots=True)
class PlaylistFile:
    """The part of one recording that is played: ``records`` of its index, the first of them number ``first``."""

    segment_id: str
    container: Container
    init_bytes: int  # length of the initialisation segment; of no use for Matroska
    first: int
    records: Sequence[IndexRecord]


@dataclass(frozen=True, slots=True)
class MediaSegment:
    """Fragments [first, first + count) of a file as one HLS media segment."""

    first: int
    count: int
    offset: int
    size: int
    duration_90k: int
    wall_us: int
    follows: bool  # its media time continues that of the segment before it in the same file


def media_segments(records: Sequence[IndexRecord], first: int) -> Iterator[MediaSegment]:
    """Cut the fragments of a file into media segments of about four seconds, at keyframes and where time jumps."""
    begin = begin_90k = 0
    for number, (_, media_start_90k, _, _, _, _, flags) in enumerate(records):
        if number == 0:
            begin_90k = media_start_90k
        elif flags & _DISCONTINUITY or (flags & _KEYFRAME and media_start_90k - begin_90k >= MIN_SEGMENT_90K):
            yield _media_segment(records, begin, number, first)
            begin, begin_90k = number, media_start_90k
    if records:
        yield _media_segment(records, begin, len(records), first)


def _media_segment(records: Sequence[IndexRecord], begin: int, end: int, first: int) -> MediaSegment:
    head = records[begin]
    last = records[end - 1]
    follows_next = end < len(records) and not records[end].flags & _DISCONTINUITY
    # Only a fragment's last frame has an estimated duration: where the next one follows, its start is exact.
    end_90k = records[end].media_start_90k if follows_next else last.media_end_90k
    return MediaSegment(
        first=first + begin,
        count=end - begin,
        offset=head.offset,
        size=last.offset + last.size - head.offset,
        duration_90k=max(1, end_90k - head.media_start_90k),
        wall_us=head.wall_start_us,
        follows=begin > 0 and not head.flags & _DISCONTINUITY,
    )


def vod_playlist(files: Iterable[PlaylistFile]) -> str:
    """The media playlist of files in order of time; paths are relative to ``/recordings/{camera_id}/``."""
    body: list[str] = []
    longest_90k = 0
    for file in files:
        for segment in media_segments(file.records, file.first):
            if not segment.follows:
                if body:
                    body.append("#EXT-X-DISCONTINUITY")
                body.append(_map(file))
            longest_90k = max(longest_90k, segment.duration_90k)
            body.append(f"#EXT-X-PROGRAM-DATE-TIME:{_date_time(segment.wall_us)}")
            body.append(f"#EXTINF:{segment.duration_90k / 90_000:.6f},")
            if file.container is Container.MP4:
                body.append(f"#EXT-X-BYTERANGE:{segment.size}@{segment.offset}")
                body.append(f"media/{file.segment_id}.mp4")
            else:
                body.append(f"media/{file.segment_id}/{segment.first}-{segment.count}.m4s")
    # EXTINF rounded to the nearest integer must not exceed the target (RFC 8216 §4.3.3.1).
    target = max(1, (longest_90k + 45_000) // 90_000)
    head = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{target}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
    ]
    return "\n".join([*head, *body, "#EXT-X-ENDLIST", ""])


def _map(file: PlaylistFile) -> str:
    if file.container is Container.MP4:
        return f'#EXT-X-MAP:URI="media/{file.segment_id}.mp4",BYTERANGE="{file.init_bytes}@0"'
    return f'#EXT-X-MAP:URI="media/{file.segment_id}/init.mp4"'


def _date_time(wall_us: int) -> str:
    # Milliseconds: more digits than that confuse some players.
    minute, rest_ms = divmod(wall_us // 1000, 60_000)
    return f"{_minute_text(minute)}:{rest_ms // 1000:02}.{rest_ms % 1000:03}Z"


@lru_cache(maxsize=256)
def _minute_text(minute: int) -> str:
    return datetime_from_us(minute * 60_000_000).strftime("%Y-%m-%dT%H:%M")
