"""Recorded frames read back, and compared with the looped clip that the camera sent.

Every frame is known by a digest of its payload. Ours and FFmpeg's reading of a file are both here, so that a test does
not have to take our reader's word for what is in it.
"""

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import av

from vms.common.stream import FrameFlag
from vms.format import layout
from vms.format.index import IndexView
from vms.format.model import us_from_90k
from vms.format.reader import SegmentReader
from vms.format.repair import rebuild_index

_DISCONTINUITY = int(FrameFlag.DISCONTINUITY)


class RecordedFrame(NamedTuple):
    """One frame as it lies in a file. ``dts_90k`` is the file's media time, ``capture_us`` wall time."""

    path: Path
    digest: bytes
    capture_us: int
    dts_90k: int
    is_keyframe: bool
    is_discontinuity: bool  # the first of a fragment that says it does not follow from the one before


def recorded_frames(files: Iterable[Path]) -> list[RecordedFrame]:
    """The frames of media files, in the order given, as our reader finds them."""
    return [frame for path in files for frame in _frames_of(path)]


def demuxed_digests(path: Path) -> list[bytes]:
    """The payloads of a media file in decode order, as FFmpeg's demuxer finds them."""
    with av.open(str(path)) as container:
        return [_digest(bytes(packet)) for packet in container.demux(video=0) if packet.size]


def assert_same_by_ffmpeg(path: Path) -> None:
    """Assert that FFmpeg's demuxer finds the frames that our reader finds."""
    assert [frame.digest for frame in recorded_frames([path])] == demuxed_digests(path), path


def breaks(frames: Sequence[RecordedFrame], source: Sequence[bytes]) -> list[int]:
    """Numbers of the frames that do not follow the frame before them in the endless loop of ``source``.

    No breaks means: every frame of the source from the first recorded to the last, each exactly once, in order. Fails
    for a frame that the source does not have.
    """
    places: dict[bytes, list[int]] = {}
    for place, digest in enumerate(source):
        places.setdefault(digest, []).append(place)
    found: list[int] = []
    # Small frames may be equal byte by byte: all places where the run so far can be are followed.
    here: list[int] = []
    for number, frame in enumerate(frames):
        assert frame.digest in places, f"frame {number} of {frame.path} is none of the camera's"
        before = {(place + 1) % len(source) for place in here}
        here = [place for place in places[frame.digest] if place in before]
        if not here:
            here = places[frame.digest]
            if number:
                found.append(number)
    return found


def last_end_us(media_path: Path) -> int:
    """Wall time up to which the index of a file says that it is recorded. Raises VmsError when there is no index."""
    return IndexView.load(layout.index_path(media_path))[-1].wall_end_us


def indexed_frames(media_path: Path) -> int:
    """Frames of a file by its index."""
    return sum(record.frames for record in IndexView.load(layout.index_path(media_path)))


def assert_rebuilt_index_is_equal(media_path: Path) -> None:
    """Assert that the index made from the media file alone is the index on disk, byte by byte."""
    assert rebuild_index(media_path) == layout.index_path(media_path).read_bytes(), media_path


def assert_plays(media_path: Path) -> None:
    """Assert that ``ffmpeg -v error`` decodes the whole file without a message."""
    command = ["ffmpeg", "-v", "error", "-i", str(media_path), "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, ""), media_path


def _frames_of(path: Path) -> Iterator[RecordedFrame]:
    data = path.read_bytes()
    with SegmentReader.open(path) as reader:
        for record in reader.records:
            samples = reader.samples(record)
            for number, sample in enumerate(samples):
                yield RecordedFrame(
                    path=path,
                    digest=_digest(data[sample.offset : sample.offset + sample.size]),
                    capture_us=record.wall_start_us + us_from_90k(sample.pts_90k - samples[0].pts_90k),
                    dts_90k=sample.dts_90k,
                    is_keyframe=sample.is_keyframe,
                    is_discontinuity=number == 0 and bool(record.flags & _DISCONTINUITY),
                )


def _digest(payload: bytes) -> bytes:
    return blake2b(payload, digest_size=12).digest()
