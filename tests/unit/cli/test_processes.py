import asyncio
import os
import sys
from pathlib import Path

import pytest
from tests.support.clock import cancelled
from tests.support.nats import until

from vms.cli import processes
from vms.cli.processes import ProcessSpec, SupervisedProcess, python_module
from vms.common.clock import SystemClock
from vms.common.supervise import BackoffPolicy


def python(code: str, *arguments: str) -> ProcessSpec:
    return ProcessSpec("child", (sys.executable, "-c", code, *arguments))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


@pytest.fixture(autouse=True)
def _restarts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_POLICY", BackoffPolicy(first_s=0.001, limit_s=0.001, healthy_after_s=10))


NOTE = "import os, sys; print(os.getpid(), file=open(sys.argv[1], 'a'), flush=True); "
WAIT = "import signal; signal.pause()"


async def test_a_child_runs_until_it_is_cancelled_and_has_ended_then(tmp_path: Path) -> None:
    process = SupervisedProcess(python(NOTE + WAIT, str(tmp_path / "p")), SystemClock())
    task = asyncio.create_task(process.run())
    await until(lambda: len(lines(tmp_path / "p")) == 1)
    pid = process.pid
    assert pid == int(lines(tmp_path / "p")[0])
    assert os.getsid(pid) == pid  # Ctrl-C of the terminal does not reach it
    await cancelled(task)
    assert not is_alive(pid)
    assert (process.pid, process.restarts) == (None, 0)


@pytest.mark.parametrize("end", ["sys.exit(0)", "sys.exit(3)", "os.kill(os.getpid(), 9)"])
async def test_a_child_that_ends_however_it_does_is_started_again(end: str, tmp_path: Path) -> None:
    process = SupervisedProcess(python(NOTE + end, str(tmp_path / "p")), SystemClock())
    task = asyncio.create_task(process.run())
    await until(lambda: len(lines(tmp_path / "p")) >= 3)
    await cancelled(task)
    assert process.restarts >= 2
    assert len(set(lines(tmp_path / "p"))) == len(lines(tmp_path / "p"))


async def test_a_child_that_does_not_want_to_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes._stop, "__defaults__", (0.05,))
    code = "import signal; signal.signal(15, signal.SIG_IGN); " + NOTE + "signal.pause(); signal.pause()"
    process = SupervisedProcess(python(code, str(tmp_path / "p")), SystemClock())
    task = asyncio.create_task(process.run())
    await until(lambda: len(lines(tmp_path / "p")) == 1)
    await cancelled(task)
    assert not is_alive(int(lines(tmp_path / "p")[0]))


async def test_a_program_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    process = SupervisedProcess(ProcessSpec("child", (str(tmp_path / "missing"),)), SystemClock())
    task = asyncio.create_task(process.run())
    await until(lambda: process.restarts >= 3)
    await cancelled(task)
    assert process.pid is None


def test_our_modules_run_in_this_interpreter() -> None:
    assert python_module("vms.cli.simulate", "pattern") == (sys.executable, "-m", "vms.cli.simulate", "pattern")
