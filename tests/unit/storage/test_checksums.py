import subprocess
from pathlib import Path

from tests.support.nats import until
from tests.support.recordings import fragment, record

from vms.common.stream import Container
from vms.format import layout
from vms.storage.checksums import ChecksumWriter, checksum_path, drop_checksum, has_checksum, write_checksum


def verify(path: Path) -> str:
    done = subprocess.run(["sha256sum", "-c", path.name], cwd=path.parent, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def test_sha256sum_accepts_what_is_written_and_notices_a_changed_byte(tmp_path: Path) -> None:
    media = record(tmp_path, [fragment(0)], Container.MP4)
    assert write_checksum(media)
    target = checksum_path(media)
    assert target.name == "checksum_10.sha256"
    assert verify(target) == ""
    with media.open("r+b") as file:
        file.seek(5000)
        file.write(b"x")
    assert "video_10.mp4: FAILED" in verify(target)


def test_files_of_the_same_hour_share_a_checksum_file(tmp_path: Path) -> None:
    media = record(tmp_path, [fragment(0)], Container.MP4)
    second = media.with_name("video_10_1.mp4")
    second.write_bytes(media.read_bytes())
    layout.index_path(second).write_bytes(layout.index_path(media).read_bytes())
    write_checksum(media)
    write_checksum(second)
    names = [line.split("  ")[1] for line in checksum_path(media).read_text().splitlines()]
    assert names == ["index_10.vms-idx", "index_10_1.vms-idx", "video_10.mp4", "video_10_1.mp4"]
    assert verify(checksum_path(media)) == ""
    media.unlink()
    layout.index_path(media).unlink()
    drop_checksum(media)
    assert verify(checksum_path(media)) == ""
    assert len(checksum_path(media).read_text().splitlines()) == 2


def test_a_checksum_counts_only_when_it_is_newer_than_the_file(tmp_path: Path) -> None:
    media = record(tmp_path, [fragment(0)], Container.MP4)
    assert not has_checksum(media)
    write_checksum(media)
    assert has_checksum(media)
    record(tmp_path, [fragment(1)], Container.MP4)  # the recorder goes on in the same file
    assert not has_checksum(media)


async def test_the_thread_survives_files_that_are_gone_and_counts_what_does_not_fit(tmp_path: Path) -> None:
    media = record(tmp_path, [fragment(0)], Container.MP4)
    writer = ChecksumWriter(limit=2)
    for path in (tmp_path / "video_09.mp4", media, media):
        writer.add(path)
    assert (writer.waiting, writer.dropped_total) == (2, 1)
    with writer:
        await until(lambda: writer.written_total + writer.failed_total == 2)
    assert (writer.written_total, writer.failed_total) == (1, 1)
    assert has_checksum(media)
