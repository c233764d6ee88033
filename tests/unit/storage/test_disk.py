from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from tests.support.recordings import CAMERA, PARAMS, START_US, fragment, index_of, record

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container
from vms.format import layout
from vms.format.recording import RecordingWriter
from vms.storage.disk import camera_directories, days, freshest, last_record, media_files, read_facts

RELATIVE = PurePosixPath(f"cameras/{CAMERA}/2026-03-01/video_10.mp4")
MINUTE_US = 60_000_000


@pytest.mark.parametrize("container", list(Container))
def test_a_file_says_all_that_its_row_says(tmp_path: Path, container: Container) -> None:
    media = record(tmp_path, [fragment(0), fragment(1)], container)
    facts = read_facts(tmp_path, "main", PurePosixPath(media.relative_to(tmp_path)), now_us=START_US)
    assert facts is not None
    assert (facts.camera_id, facts.container, facts.codec_string) == (CAMERA, container, PARAMS.codec_string)
    assert (facts.start_us, facts.end_us) == (START_US, START_US + 2_000_000)
    assert (facts.frames, facts.fragments, facts.closed) == (50, 2, True)
    index = layout.index_path(media)
    assert index.exists()
    index.unlink()
    assert read_facts(tmp_path, "main", PurePosixPath(media.relative_to(tmp_path)), now_us=START_US) == facts


def test_a_file_is_open_while_its_recorder_holds_it_and_left_behind_when_nobody_does(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path, CAMERA, container=Container.MP4)
    writer.write(PARAMS, fragment(0), 0.0)
    hour_later = START_US + 60 * MINUTE_US

    def closed(now_us: int) -> bool:
        facts = read_facts(tmp_path, "main", RELATIVE, now_us=now_us)
        assert facts is not None
        return facts.closed

    assert not closed(START_US)
    assert not closed(hour_later)  # silent, but its recorder is alive
    assert writer._segment is not None
    writer._segment.abandon()  # what a crash leaves
    assert not closed(START_US + MINUTE_US)  # the recorder may be about to go on
    assert closed(hour_later)


def test_what_was_appended_since_the_last_report_is_visible_at_once(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path, CAMERA, container=Container.MP4)
    writer.write(PARAMS, fragment(0), 0.0)
    reported = read_facts(tmp_path, "main", RELATIVE, now_us=START_US)
    assert reported is not None
    assert freshest(tmp_path / RELATIVE, reported) == reported
    for number in (1, 2):
        writer.write(PARAMS, fragment(number), 0.0)
    fresh = freshest(tmp_path / RELATIVE, reported)
    assert fresh == read_facts(tmp_path, "main", RELATIVE, now_us=START_US)
    assert (fresh.frames, fresh.end_us) == (75, START_US + 3_000_000)
    more_than_there_is = replace(reported, size_bytes=1 << 40, frames=10**9, fragments=10**6)
    assert freshest(tmp_path / RELATIVE, more_than_there_is) == fresh  # a repair cut the file
    writer.close()


def test_an_index_that_is_missing_or_broken_leaves_the_row_as_it_is(tmp_path: Path) -> None:
    media = record(tmp_path, [fragment(0)], Container.MP4, close=False)
    reported = read_facts(tmp_path, "main", RELATIVE, now_us=START_US)
    assert reported is not None
    layout.index_path(media).write_bytes(b"nonsense")
    assert freshest(media, reported) == reported
    layout.index_path(media).unlink()
    assert freshest(media, reported) == reported


def test_what_is_no_recording_or_of_another_camera_is_corrupt(tmp_path: Path) -> None:
    media = record(tmp_path, [fragment(0)], Container.MP4)
    stolen = tmp_path / "cameras" / "other" / "2026-03-01" / "video_10.mp4"
    stolen.parent.mkdir(parents=True)
    stolen.write_bytes(media.read_bytes())
    layout.index_path(stolen).write_bytes(index_of(media))
    junk = media.with_name("video_11.mp4")
    junk.write_bytes(b"\0" * 5000)
    for path in (stolen, junk):
        with pytest.raises(VmsError) as caught:
            read_facts(tmp_path, "main", PurePosixPath(path.relative_to(tmp_path)), now_us=START_US)
        assert caught.value.kind is ErrorKind.CORRUPT


def test_walking_a_volume_finds_cameras_days_and_media_files_only(tmp_path: Path) -> None:
    media = record(tmp_path, [fragment(0)], Container.MP4)
    (media.parent / ".video_11.mp4.new").write_bytes(b"")
    (media.parent.parent / "notes").mkdir()
    assert camera_directories(tmp_path) == [CAMERA]
    assert days(tmp_path, CAMERA) == ["2026-03-01"]
    assert list(media_files(tmp_path, CAMERA, "2026-03-01")) == [RELATIVE]
    assert camera_directories(tmp_path / "nothing") == []


def test_the_last_fragment_of_a_camera_is_found_without_the_catalogue(tmp_path: Path) -> None:
    assert last_record(tmp_path, CAMERA) is None
    record(tmp_path, [fragment(0), fragment(1)], Container.MP4)
    found = last_record(tmp_path, CAMERA)
    assert found is not None
    assert found.wall_start_us == START_US + 1_000_000
