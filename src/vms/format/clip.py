"""A time range of recordings as one progressive MP4: a header, and byte ranges of the recordings behind it.

Nothing is encoded or copied: whoever serves the clip sends ``header`` and then each part with ``sendfile``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import pack
from typing import Final, NamedTuple

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoParameters
from vms.format.boxes import box, edit_list, full_box, movie
from vms.format.model import IndexRecord, Sample, ticks_from_us, us_from_90k
from vms.format.reader import SegmentReader

_FTYP: Final = box(b"ftyp", b"isom", pack(">I", 512), b"isomiso2avc1mp41")
_MDAT_HEADER: Final = 16  # with a 64-bit size
_TICKS_MAX: Final = 2**31 - 1  # longest hold of a frame, 6.6 h: players read stts as signed

Span = tuple[SegmentReader, range]
"""A recording and the numbers of its index records to take from."""


class ClipPart(NamedTuple):
    """Bytes of a recording that are part of the clip."""

    path: Path
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Clip:
    """An MP4 file that does not exist as one: ``header``, then the bytes of ``parts`` in order."""

    header: bytes
    parts: list[ClipPart]
    total_size: int
    start_us: int  # wall time of the first frame
    end_us: int  # wall time at which the last frame shown ends
    frames: int


class _Frame(NamedTuple):
    sample: Sample
    wall_us: int  # at which it is decoded
    shown_us: int
    source: int  # number of the span


@dataclass(slots=True)
class _Chunk:
    """Frames of one fragment, contiguous in the clip's ``mdat``."""

    entry: int  # sample entry, from 1
    frames: int
    size: int


def build_clip(spans: Sequence[Span], *, start_us: int, end_us: int) -> Clip:
    """The frames from the keyframe at or before ``start_us`` to the last frame before ``end_us``.

    Between recordings, and over gaps, the last frame stays until the next one's wall time. Raises VmsError: NOT_FOUND
    when there is no frame, UNSUPPORTED when the codec changes, CORRUPT, STORAGE.
    """
    frames = _chosen(_frames(spans), start_us, end_us)
    if not frames:
        raise VmsError(ErrorKind.NOT_FOUND, "nothing is recorded in that time: ask for the list of recordings")
    entries, entry_of = _sample_entries(spans, frames)
    dts, pts, durations = _timeline(frames)
    parts = _parts(spans, frames)
    chunks = _chunks(frames, entry_of)
    media_size = sum(chunk.size for chunk in chunks)
    first_pts = pts[0]
    shown_90k = max(pts) + durations[-1] - first_pts
    tables = _tables(frames, dts, pts, durations, chunks)
    edit = edit_list(shown_90k, first_pts) if first_pts else b""

    def moov(position: int) -> bytes:
        offsets = []
        for chunk in chunks:
            offsets.append(position)
            position += chunk.size
        co64 = full_box(b"co64", 0, 0, pack(f">I{len(offsets)}Q", len(offsets), *offsets))
        tracks = movie([*tables, co64], start_us=frames[0].shown_us, duration_90k=shown_90k, params=entries, edit=edit)
        return box(b"moov", tracks)

    # The offsets are 64 bits wide whatever they are, so the size of moov does not depend on them.
    moov_size = len(moov(0))
    data_at = len(_FTYP) + moov_size + _MDAT_HEADER
    header = _FTYP + moov(data_at) + pack(">I4sQ", 1, b"mdat", _MDAT_HEADER + media_size)
    shown_end_us = max(frame.shown_us + us_from_90k(frame.sample.duration_90k) for frame in frames)
    return Clip(header, parts, len(header) + media_size, frames[0].shown_us, shown_end_us, len(frames))


def _frames(spans: Sequence[Span]) -> list[_Frame]:
    frames = []
    for source, (reader, numbers) in enumerate(spans):
        for number in numbers:
            record = reader.records[number]
            samples = reader.samples(record)
            # wall_start is the capture time of the first frame, which is shown at its pts.
            base_us = record.wall_start_us - us_from_90k(samples[0].pts_90k)
            frames += [_Frame(s, _decoded_us(record, s), base_us + us_from_90k(s.pts_90k), source) for s in samples]
    return frames


def _decoded_us(record: IndexRecord, sample: Sample) -> int:
    return record.wall_start_us + us_from_90k(sample.dts_90k - record.media_start_90k)


def _chosen(frames: list[_Frame], start_us: int, end_us: int) -> list[_Frame]:
    first = -1
    last = -1
    for number, frame in enumerate(frames):
        if frame.sample.is_keyframe and (first < 0 or frame.shown_us <= start_us):
            first = number
        if frame.shown_us < end_us:
            last = number
    return frames[first : last + 1] if first >= 0 else []


def _sample_entries(spans: Sequence[Span], frames: list[_Frame]) -> tuple[list[VideoParameters], dict[int, int]]:
    """The distinct parameters in order of use, and the number (from 1) of each span's."""
    entries: list[VideoParameters] = []
    entry_of: dict[int, int] = {}
    for source in dict.fromkeys(frame.source for frame in frames):
        params = spans[source][0].params
        if params not in entries:
            entries.append(params)
        entry_of[source] = entries.index(params) + 1
    if len({params.codec for params in entries}) > 1:
        raise VmsError(ErrorKind.UNSUPPORTED, "the codec changes within that time: export the two parts one by one")
    return entries, entry_of


def _timeline(frames: list[_Frame]) -> tuple[list[int], list[int], list[int]]:
    """(dts, pts, duration) of each frame on the clip's own timeline, whose first dts is 0."""
    dts: list[int] = []
    pts: list[int] = []
    durations: list[int] = []
    position = 0
    shown_until = 0
    previous: _Frame | None = None
    for frame in frames:
        sample = frame.sample
        composition = sample.pts_90k - sample.dts_90k
        if previous is not None:
            step = _step(previous, frame)
            if frame.source != previous.source:
                # Reordered frames of the file before must all be shown before this file's first.
                step = max(step, shown_until - composition - position)
            step = min(step, _TICKS_MAX)
            durations.append(step)
            position += step
        dts.append(position)
        pts.append(position + composition)
        shown_until = max(shown_until, pts[-1] + sample.duration_90k)
        previous = frame
    durations.append(frames[-1].sample.duration_90k)
    # A negative presentation time cannot be expressed by an edit list.
    lowest = min(0, *pts)
    return dts, [value - lowest for value in pts], durations


def _step(previous: _Frame, frame: _Frame) -> int:
    """90 kHz ticks from one frame to the next: exact within a file, by wall time between files."""
    if frame.source == previous.source:
        return frame.sample.dts_90k - previous.sample.dts_90k
    wall = ticks_from_us(frame.wall_us - previous.wall_us)
    return wall if wall > 0 else previous.sample.duration_90k


def _parts(spans: Sequence[Span], frames: list[_Frame]) -> list[ClipPart]:
    """Byte ranges, neighbours joined."""
    parts: list[ClipPart] = []
    source, start, end = frames[0].source, frames[0].sample.offset, frames[0].sample.offset
    for frame in frames:
        offset = frame.sample.offset
        if offset != end or frame.source != source:
            parts.append(ClipPart(spans[source][0].path, start, end - start))
            source, start = frame.source, offset
        end = offset + frame.sample.size
    parts.append(ClipPart(spans[source][0].path, start, end - start))
    return parts


def _chunks(frames: list[_Frame], entry_of: dict[int, int]) -> list[_Chunk]:
    """Runs of about a second; a chunk never spans two sample entries."""
    chunks: list[_Chunk] = []
    began_us = 0
    for frame in frames:
        entry = entry_of[frame.source]
        if not chunks or chunks[-1].entry != entry or not began_us <= frame.wall_us < began_us + 1_000_000:
            chunks.append(_Chunk(entry, 0, 0))
            began_us = frame.wall_us
        chunks[-1].frames += 1
        chunks[-1].size += frame.sample.size
    return chunks


def _tables(
    frames: list[_Frame], dts: list[int], pts: list[int], durations: list[int], chunks: list[_Chunk]
) -> list[bytes]:
    """stts, ctts, stss, stsc and stsz (ISO/IEC 14496-12 §8.6, §8.7)."""
    composition = [p - d for p, d in zip(pts, dts, strict=True)]
    sync = [number for number, frame in enumerate(frames, 1) if frame.sample.is_keyframe]
    sizes = [frame.sample.size for frame in frames]
    stsc: list[int] = []
    for number, chunk in enumerate(chunks, 1):
        if not stsc or (stsc[-2], stsc[-1]) != (chunk.frames, chunk.entry):
            stsc += (number, chunk.frames, chunk.entry)
    return [
        full_box(b"stts", 0, 0, _runs(durations)),
        *([full_box(b"ctts", 1, 0, _runs(composition))] if any(composition) else []),
        full_box(b"stss", 0, 0, pack(f">I{len(sync)}I", len(sync), *sync)),
        full_box(b"stsc", 0, 0, pack(f">I{len(stsc)}I", len(stsc) // 3, *stsc)),
        full_box(b"stsz", 0, 0, pack(f">II{len(sizes)}I", 0, len(sizes), *sizes)),
    ]


def _runs(values: list[int]) -> bytes:
    """Run-length coded table of (count, value)."""
    runs: list[int] = []
    for value in values:
        if runs and runs[-1] == value & 0xFFFFFFFF:
            runs[-2] += 1
        else:
            runs += (1, value & 0xFFFFFFFF)
    return pack(f">I{len(runs)}I", len(runs) // 2, *runs)
