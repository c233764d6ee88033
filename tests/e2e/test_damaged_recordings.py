"""``vms storage check`` and ``rebuild`` on files that are not what they should be."""

import json
import os
from pathlib import Path

import pytest
from tests.support.commands import refusal, run_vms
from tests.support.recordings import encoded, record, split

from vms.common.stream import Container, VideoCodec
from vms.format.index import RECORD_SIZE, IndexView
from vms.format.layout import index_path


@pytest.fixture(params=list(Container))
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data directory with one complete recording of really encoded frames."""
    stream = encoded(VideoCodec.H264)
    record(tmp_path, split(stream.units), request.param, stream.params)
    return tmp_path


def media_of(tree: Path) -> Path:
    return next(iter(tree.glob("cameras/*/*/video_*.*")))


def checked(tree: Path, *options: str) -> tuple[int, list[str]]:
    done = run_vms(["storage", "check", "--data-dir", tree, "--json", *options])
    assert "Traceback" not in done.stderr
    return done.returncode, [problem["kind"] for problem in json.loads(done.stdout)]


def test_a_complete_recording_has_nothing_wrong(tree: Path) -> None:
    assert checked(tree) == (0, [])
    assert "Nothing is wrong" in run_vms(["storage", "check", "--data-dir", tree]).stderr


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda index: index[: -2 * RECORD_SIZE], "unindexed_tail"),
        (lambda index: index[:-7], "unindexed_tail"),
        (lambda index: index[:30], "index_damaged"),
        (lambda _: b"not an index", "index_damaged"),
        (lambda index: index + index[-RECORD_SIZE:], "index_damaged"),
        (lambda _: None, "index_missing"),
    ],
    ids=["shorter", "torn", "cut", "foreign", "longer", "missing"],
)
def test_an_index_that_does_not_fit_its_file_is_found_and_rebuilt_from_it(
    tree: Path, change: object, kind: str
) -> None:
    media = media_of(tree)
    index, frames = index_path(media).read_bytes(), media.read_bytes()
    assert callable(change)
    changed = change(index)
    index_path(media).unlink()
    if changed is not None:
        index_path(media).write_bytes(changed)
    code, kinds = checked(tree)
    assert code == 1
    assert kind in kinds
    assert checked(tree, "--repair")[0] == 0
    assert checked(tree) == (0, [])
    assert media.read_bytes() == frames
    assert index_path(media).read_bytes() == index


def test_a_file_shorter_than_its_index_keeps_every_whole_fragment(tree: Path) -> None:
    media = media_of(tree)
    records = IndexView.load(index_path(media)).valid_prefix()
    os.truncate(media, records[-1].offset + 10)
    code, kinds = checked(tree)
    assert (code, kinds) == (1, ["index_beyond_file"])
    checked(tree, "--repair")
    assert IndexView.load(index_path(media)).valid_prefix() == records[:-1]
    assert checked(tree) == (0, [])


def test_a_file_that_is_no_recording_is_named_and_left_alone(tree: Path) -> None:
    foreign = media_of(tree).with_name("video_03.mp4")
    foreign.write_bytes(b"holiday pictures" * 100)
    assert checked(tree) == (1, ["not_a_recording"])
    assert checked(tree, "--repair")[0] == 1
    assert foreign.read_bytes() == b"holiday pictures" * 100
    rebuilt = run_vms(["storage", "rebuild", "--data-dir", tree, "--json"])
    assert "Traceback" not in rebuilt.stderr
    (row,) = json.loads(rebuilt.stdout)
    assert (rebuilt.returncode, row["unreadable"]) == (1, 1)


def test_a_lost_catalogue_is_rebuilt_from_the_disk(tree: Path) -> None:
    (row,) = json.loads(run_vms(["storage", "rebuild", "--data-dir", tree, "--json"]).stdout)
    assert (row["files"], row["added"], row["unreadable"]) == (1, 1, 0)


def test_a_data_directory_that_is_not_there_is_not_called_fine(tmp_path: Path) -> None:
    for command in ("check", "rebuild"):
        assert "--data-dir" in refusal(run_vms(["storage", command, "--data-dir", tmp_path / "missing"]))
