import json
from pathlib import Path

import pytest
from tests.support.cli import vms
from tests.support.recordings import fragment, index_of, record

from vms.common.stream import Container
from vms.format.layout import index_path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A recording of five seconds in the data directory."""
    return record(tmp_path, [fragment(number) for number in range(5)], Container.MP4)


def test_a_whole_tree_has_nothing_wrong(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = vms(monkeypatch, "storage", "check", "--data-dir", tmp_path)
    assert (done.code, done.out, done.err) == (0, "", "Nothing is wrong.\n")
    assert recording.exists()
    assert json.loads(vms(monkeypatch, "storage", "check", "--data-dir", tmp_path, "--json").out) == []


def test_a_missing_index_is_found_mended_on_request_and_then_fine(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = index_of(recording)
    index_path(recording).unlink()
    found = vms(monkeypatch, "storage", "check", "--data-dir", tmp_path, "--json")
    assert found.code == 1
    (row,) = json.loads(found.out)
    assert (row["volume"], row["repaired"]) == ("main", False)
    assert recording.name in row["path"] or "index" in row["path"]
    assert not index_path(recording).exists()
    mended = vms(monkeypatch, "storage", "check", "--repair", "--data-dir", tmp_path, "--json")
    assert (mended.code, [row["repaired"] for row in json.loads(mended.out)]) == (0, [True])
    assert index_of(recording) == before
    assert vms(monkeypatch, "storage", "check", "--data-dir", tmp_path).code == 0


def test_what_cannot_be_mended_is_left_as_it_is_and_exit_code_1(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.write_bytes(b"no recording" * 100)
    done = vms(monkeypatch, "storage", "check", "--repair", "--data-dir", tmp_path)
    assert done.code == 1
    assert "Traceback" not in done.err
    assert recording.read_bytes() == b"no recording" * 100


def test_the_catalogue_is_rebuilt_from_the_files_alone(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = vms(monkeypatch, "storage", "rebuild", "--data-dir", tmp_path, "--json")
    assert (first.code, json.loads(first.out)) == (
        0,
        [{"files": 1, "added": 1, "removed": 0, "unreadable": 0}],
    )
    recording.unlink()
    index_path(recording).unlink()
    second = vms(monkeypatch, "storage", "rebuild", "--data-dir", tmp_path, "--json")
    assert json.loads(second.out)[0]["removed"] == 1


def test_rebuild_with_repair_makes_missing_indexes_first(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index_path(recording).unlink()
    done = vms(monkeypatch, "storage", "rebuild", "--repair", "--data-dir", tmp_path, "--json")
    assert (done.code, json.loads(done.out)[0]["added"]) == (0, 1)
    assert index_path(recording).exists()


@pytest.mark.parametrize("command", ["check", "rebuild"])
def test_a_volume_that_is_not_there_is_not_taken_for_an_empty_one(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = vms(monkeypatch, "storage", command, "--data-dir", tmp_path / "unmounted")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"vms: volume main is not at {tmp_path}/unmounted")
