import os
import subprocess
import sys

import pytest
from tests.support.cli import vms

import vms as package
from vms.cli import main
from vms.common.errors import ErrorKind, VmsError


def test_the_version_is_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    done = vms(monkeypatch, "version")
    assert (done.code, done.out) == (0, f"{package.__version__}\n")


@pytest.mark.parametrize("arguments", [["--help"], ["camera", "--help"], ["up", "--help"], ["bench", "--help"]])
def test_help_is_no_failure(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    done = vms(monkeypatch, *arguments)
    assert done.code == 0
    assert "Usage: vms" in done.out


@pytest.mark.parametrize("arguments", [[], ["fly"], ["up", "--fly"], ["camera"], ["simulate"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert vms(monkeypatch, *arguments).code == 2


@pytest.mark.parametrize(
    "command",
    ["up", "camera", "recordings", "export", "storage", "simulate", "bench", "ingest", "api", "version"],
)
def test_every_command_of_the_contract_is_there(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert vms(monkeypatch, command, "--help").code == 0


def ending_with(error: BaseException) -> object:
    def end() -> None:
        raise error

    return end


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [(VmsError(ErrorKind.CONFLICT, "port in use"), 1, "vms: port in use\n"), (KeyboardInterrupt(), 130, "")],
)
def test_an_error_is_one_line_and_ctrl_c_is_none(
    error: BaseException, code: int, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "app", ending_with(error))
    done = vms(monkeypatch)
    assert (done.code, done.err) == (code, text)


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "vms.cli.main", "version"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert "Traceback" not in done.stderr
