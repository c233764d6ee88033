from pathlib import Path

import pytest
from tests.support.recordings import fragment, record

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container
from vms.format import layout
from vms.storage.checksums import checksum_path, write_checksum
from vms.storage.erase import delete_recording

LATER = "2026-04-01"


def test_all_that_belongs_to_a_recording_goes_and_the_empty_day_with_it(tmp_path: Path) -> None:
    media = record(tmp_path, [fragment(0)], Container.MP4)
    write_checksum(media)
    media.with_name("thumb_10.webp").write_bytes(b"x")
    delete_recording(media, today=LATER)
    assert not media.parent.exists()
    assert media.parent.parent.exists()


def test_the_rest_of_the_hour_stays_with_its_checksum(tmp_path: Path) -> None:
    media = record(tmp_path, [fragment(0)], Container.MP4)
    second = media.with_name("video_10_1.mkv")
    second.write_bytes(b"x")
    layout.index_path(second).write_bytes(b"x")
    write_checksum(media)
    write_checksum(second)
    delete_recording(media, today=LATER)
    assert sorted(path.name for path in media.parent.iterdir()) == [
        "checksum_10.sha256",
        "index_10_1.vms-idx",
        "video_10_1.mkv",
    ]
    assert len(checksum_path(media).read_text().splitlines()) == 2


def test_todays_directory_and_one_with_other_things_stay(tmp_path: Path) -> None:
    media = record(tmp_path, [fragment(0)], Container.MP4)
    delete_recording(media, today=media.parent.name)
    assert list(media.parent.iterdir()) == []
    note = media.parent / "note.txt"
    note.write_text("of the owner")
    delete_recording(media, today=LATER)
    assert note.exists()


def test_what_is_gone_already_is_no_error(tmp_path: Path) -> None:
    media = record(tmp_path, [fragment(0)], Container.MP4)
    media.unlink()
    delete_recording(media, today=LATER)
    delete_recording(media, today=LATER)
    assert not media.parent.exists()


def test_a_file_that_cannot_be_deleted_is_a_storage_error(tmp_path: Path) -> None:
    media = tmp_path / "cameras" / "a" / "2026-03-01" / "video_10.mp4"
    media.mkdir(parents=True)
    with pytest.raises(VmsError) as caught:
        delete_recording(media, today=LATER)
    assert caught.value.kind is ErrorKind.STORAGE
