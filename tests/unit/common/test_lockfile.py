import subprocess
import sys
from pathlib import Path

import pytest

from vms.common.errors import ErrorKind, VmsError
from vms.common.lockfile import hold_lock

HOLDER = """
import sys, pathlib
from vms.common.lockfile import hold_lock
with hold_lock(pathlib.Path(sys.argv[1]), what="it"):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_at_once_and_told_who_holds_the_lock(tmp_path: Path) -> None:
    with start_holder(tmp_path / "lock") as holder:
        with pytest.raises(VmsError, match=rf"the directory is in use by process {holder.pid}:") as caught:
            hold_lock(tmp_path / "lock", what="the directory").__enter__()
        assert caught.value.kind is ErrorKind.CONFLICT
        holder.communicate("")


def test_a_lock_goes_with_a_process_that_is_killed(tmp_path: Path) -> None:
    with start_holder(tmp_path / "lock") as holder:
        holder.kill()
        holder.communicate()
    with hold_lock(tmp_path / "lock", what="it"):
        pass


def test_a_lock_can_be_taken_again_after_it_was_given_back(tmp_path: Path) -> None:
    for _ in range(2):
        with hold_lock(tmp_path / "lock", what="it"):
            assert (tmp_path / "lock").read_text().strip().isdigit()


def test_a_path_that_cannot_be_opened_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(VmsError, match="cannot be opened") as caught:
        hold_lock(tmp_path / "missing" / "lock", what="it").__enter__()
    assert caught.value.kind is ErrorKind.STORAGE
    assert "\n" not in caught.value.message


def test_a_full_disk_does_not_keep_a_process_from_locking() -> None:
    with hold_lock(Path("/dev/full"), what="it"), pytest.raises(VmsError, match="it is in use"):
        hold_lock(Path("/dev/full"), what="it").__enter__()
