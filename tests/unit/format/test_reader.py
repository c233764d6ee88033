from pathlib import Path

import pytest
from hypothesis import given, settings
from tests.support.recordings import (
    CAMERA,
    PARAMS,
    START_US,
    encoded,
    ffprobe_times,
    fragment,
    random_fragments,
    record,
    split,
)

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container, VideoCodec
from vms.format import fmp4
from vms.format.boxes import walk
from vms.format.index import RECORD_SIZE, IndexView
from vms.format.layout import index_path
from vms.format.model import Fragment
from vms.format.reader import SegmentReader
from vms.format.recording import RecordingWriter

both = pytest.mark.parametrize("container", list(Container))


@both
def test_a_recording_tells_what_it_is(tmp_path: Path, container: Container) -> None:
    path = record(tmp_path, [fragment(0), fragment(1)], container)
    with SegmentReader.open(path) as reader:
        assert (reader.params, reader.camera_id, reader.container) == (PARAMS, CAMERA, container)
        assert reader.is_closed
        assert len(reader.records) == 2
        assert bool(reader.init_size) is (container is Container.MP4)


@both
@settings(max_examples=25, deadline=None)
@given(parts=random_fragments())
def test_samples_are_the_frames_that_were_written(
    tmp_path_factory: pytest.TempPathFactory, container: Container, parts: list[Fragment]
) -> None:
    path = record(tmp_path_factory.mktemp("root"), parts, container)
    data = path.read_bytes()
    with SegmentReader.open(path) as reader:
        for part, entry in zip(parts, reader.records, strict=True):
            samples = reader.samples(entry)
            assert [data[s.offset : s.offset + s.size] for s in samples] == [u.payload for u in part.units]
            assert [s.pts_90k - s.dts_90k for s in samples] == [u.pts_90k - u.dts_90k for u in part.units]
            assert samples[0].dts_90k == entry.media_start_90k


@settings(max_examples=25, deadline=None)
@given(parts=random_fragments())
def test_matroska_becomes_the_same_fragments_as_mp4(
    tmp_path_factory: pytest.TempPathFactory, parts: list[Fragment]
) -> None:
    root = tmp_path_factory.mktemp("root")
    with (
        SegmentReader.open(record(root / "a", parts, Container.MP4)) as mp4,
        SegmentReader.open(record(root / "b", parts, Container.MKV)) as mkv,
    ):
        for number, (a, b) in enumerate(zip(mp4.records, mkv.records, strict=True), 1):
            assert b"".join(mkv.fragment_as_fmp4(b, number)) == b"".join(mp4.fragment_as_fmp4(a, number))


@both
@pytest.mark.parametrize("codec", list(VideoCodec))
def test_init_segment_and_fragments_play_on_their_own(tmp_path: Path, container: Container, codec: VideoCodec) -> None:
    stream = encoded(codec)
    path = record(tmp_path, split(stream.units), container, stream.params)
    joined = tmp_path / "joined.mp4"
    with SegmentReader.open(path) as reader:
        init = reader.init_segment()
        assert [b.kind for b in walk(init)] == [b"ftyp", b"moov"]
        parts = [b"".join(reader.fragment_as_fmp4(r, i)) for i, r in enumerate(reader.records)]
    joined.write_bytes(init + b"".join(parts[1:]))
    dts, _ = ffprobe_times(joined)
    assert dts == pytest.approx([u.dts_90k / 90_000 for u in stream.units[25:]], abs=1e-5)


def test_the_init_segment_of_mp4_is_the_start_of_the_file(tmp_path: Path) -> None:
    path = record(tmp_path, [fragment(0)], Container.MP4)
    with SegmentReader.open(path) as reader:
        assert reader.init_segment() == path.read_bytes()[: reader.init_size]
        assert reader.init_segment().startswith(fmp4.init_segment(reader._header.facts, START_US)[:24])


@both
def test_a_growing_file_shows_its_new_fragments_after_refresh(tmp_path: Path, container: Container) -> None:
    writer = RecordingWriter(tmp_path, CAMERA, container=container)
    path = tmp_path / writer.write(PARAMS, fragment(0), 0.0)[0].path
    with SegmentReader.open(path) as reader:
        writer.write(PARAMS, fragment(1), 0.0)
        assert len(reader.records) == 1
        reader.refresh()
        assert len(reader.samples(reader.records[1])) == 25
        assert not reader.is_closed
    writer.close()


@both
@pytest.mark.parametrize("content", [None, b"", b"garbage", b'{"format":"vms-idx","version":1}\n'])
def test_without_a_usable_index_the_media_file_is_enough(
    tmp_path: Path, container: Container, content: bytes | None
) -> None:
    path = record(tmp_path, [fragment(0), fragment(1)], container)
    expected = list(IndexView.load(index_path(path)))
    index_path(path).unlink()
    if content is not None:
        index_path(path).write_bytes(content)
    with SegmentReader.open(path) as reader:
        assert list(reader.records) == expected


@both
def test_a_fragment_that_is_not_what_the_index_says_is_corrupt(tmp_path: Path, container: Container) -> None:
    path = record(tmp_path, [fragment(0), fragment(1)], container)
    with SegmentReader.open(path) as reader:
        wrong = reader.records[0]._replace(wall_start_us=1)
        with pytest.raises(VmsError, match="does not hold") as caught:
            reader.samples(wrong)
        assert caught.value.kind is ErrorKind.CORRUPT
        beyond = reader.records[1]._replace(offset=path.stat().st_size)
        with pytest.raises(VmsError):
            reader.fragment_as_fmp4(beyond, 1)


def test_a_missing_file_is_not_found_and_a_foreign_one_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(VmsError) as caught:
        SegmentReader.open(tmp_path / "video_10.mp4")
    assert caught.value.kind is ErrorKind.NOT_FOUND
    (tmp_path / "video_10.mp4").write_bytes(b"x" * RECORD_SIZE)
    with pytest.raises(VmsError) as caught:
        SegmentReader.open(tmp_path / "video_10.mp4")
    assert caught.value.kind is ErrorKind.CORRUPT
