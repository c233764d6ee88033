"""``vms up`` where it cannot run: one line that says what to do, and nothing is started or touched."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.commands import refusal, run_vms
from tests.support.services import free_port


@pytest.mark.parametrize("service", ["ingest", "storage", "api"])
def test_a_port_that_is_taken_is_refused_before_anything_starts(service: str, tmp_path: Path) -> None:
    ports = {f"VMS_{name}__PORT": str(free_port()) for name in ("INGEST", "STORAGE", "API", "BUS")}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        variable = f"VMS_{service.upper()}__PORT"
        line = refusal(run_vms(["up", "--data-dir", tmp_path / "data"], environment={**ports, variable: str(port)}))
    assert f"port {port}" in line
    assert variable in line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("api: [", "line"),
        ("- a\n- b\n", "expected keys and values"),
        ("apii: {}", "did you mean 'api'"),
        ("api: {prot: 9000}", "did you mean 'port'"),
        ("api: {port: lots}", "'api.port'"),
        ("ingest: {ring_s: 9999}", "'ingest.ring_s'"),
        ("storage: {volumes: [{name: a, path: x}, {name: a, path: y}]}", "of its own"),
        ("api: {host: 0.0.0.0}", "refusing to listen"),
        ("bus: 7", "'bus' must hold keys"),
    ],
)
def test_a_configuration_with_a_mistake_is_refused_by_name_and_place(text: str, says: str, tmp_path: Path) -> None:
    config = tmp_path / "vms.yaml"
    config.write_text(text)
    line = refusal(run_vms(["up", "--data-dir", tmp_path / "data", "--config", config]))
    assert says in line
    assert not (tmp_path / "data").exists()


def test_an_environment_variable_that_is_no_setting_is_refused(tmp_path: Path) -> None:
    done = run_vms(["up", "--data-dir", tmp_path / "data"], environment={"VMS_APII__PORT": "1"})
    assert "VMS_APII__PORT" in refusal(done)


def test_a_data_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    line = refusal(run_vms(["up", "--data-dir", tmp_path / "file" / "data"]))
    assert "cannot be written" in line
    assert "--data-dir" in line
    assert (tmp_path / "file").read_text() == "mine"


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[None]:
    """A small file system of its own; skips the test where that is not allowed."""
    directory.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], check=False, capture_output=True
    )
    if done.returncode != 0:
        pytest.skip("needs the right to mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs root, to mount a file system")
def test_a_full_or_read_only_data_directory_is_refused(tmp_path: Path) -> None:
    with mounted(tmp_path / "read-only", "size=64k,ro"):
        assert "Read-only" in refusal(run_vms(["up", "--data-dir", tmp_path / "read-only"]))
    # A file system without an inode left is full for every new file.
    with mounted(tmp_path / "full", "size=64k,nr_inodes=2"):
        (tmp_path / "full" / "last").write_bytes(b"")
        assert "free space" in refusal(run_vms(["up", "--data-dir", tmp_path / "full"]))
