from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.ingest import camera

from vms.ingest.desired import load_desired, save_desired


def test_what_was_saved_is_loaded_password_and_unknown_keys_included(tmp_path: Path) -> None:
    cameras = {c.id: c for c in (camera("b", password="s3cr3t", mood="new"), camera("a", enabled=False))}
    save_desired(tmp_path / "cameras.json", cameras)
    loaded = load_desired(tmp_path / "cameras.json")
    assert loaded == cameras
    assert list(loaded) == ["b", "a"]
    assert loaded[camera("b").id].password.get_secret_value() == "s3cr3t"


def test_the_file_is_for_this_user_alone_and_nothing_else_is_left(tmp_path: Path) -> None:
    save_desired(tmp_path / "cameras.json", {})
    save_desired(tmp_path / "cameras.json", {camera().id: camera()})
    assert (tmp_path / "cameras.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["cameras.json"]


def test_a_full_disk_leaves_the_old_file_whole(tmp_path: Path) -> None:
    file = tmp_path / "cameras.json"
    save_desired(file, {camera().id: camera()})
    (tmp_path / "cameras.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        save_desired(file, {})
    assert load_desired(file) == {camera().id: camera()}


def test_a_missing_file_means_no_camera(tmp_path: Path) -> None:
    assert load_desired(tmp_path / "cameras.json") == {}


@given(st.binary(max_size=60) | st.sampled_from([b"{}", b"[1]", b"null", b"[[]]", b'[{"id":"a"}]', b'"x"', b"3"]))
def test_a_damaged_file_means_no_camera(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "damaged.json"
    file.write_bytes(data)
    assert load_desired(file) == {}
