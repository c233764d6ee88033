"""The ``vms`` command as a process of its own, with none of the tests' own settings."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_vms(
    arguments: Sequence[object],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    text: str | None = None,
    timeout_s: float = 60,
) -> subprocess.CompletedProcess[str]:
    """One ``vms`` command to its end. ``text`` is its standard input; no VMS_ variable of the tests reaches it."""
    return subprocess.run(
        vms_command(*arguments),
        env=clean_environment(environment),
        cwd=cwd,
        input=text if text is not None else "",
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def vms_command(*arguments: object) -> list[str]:
    """Command line of ``vms`` in this interpreter."""
    return [sys.executable, "-m", "vms.cli.main", *(str(argument) for argument in arguments)]


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without settings of the product, and ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VMS_", "TEST_PRODUCT"))}
    return {**kept, **(extra or {})}


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a command that failed; anything else, such as a traceback, fails the test."""
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("vms: ")
    return line


def command_line(pid: int) -> list[str]:
    """Words of a process's command line; empty when it has ended."""
    try:
        return [word.decode(errors="replace") for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]]
    except OSError:
        return []
