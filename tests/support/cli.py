"""The ``vms`` command in this process: exit code, output, and its one line of error."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest

from vms.cli import main, service_process, up


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def vms(monkeypatch: pytest.MonkeyPatch, *arguments: object, stdin: str = "") -> Done:
    """Run ``vms ARGUMENTS…`` through its entry point."""
    monkeypatch.setattr(sys, "argv", ["vms", *(str(argument) for argument in arguments)])
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    # Logging is set up once for a process, and would hold on to this command's stderr.
    for module in (up, service_process):
        monkeypatch.setattr(module, "configure_logging", lambda *_, **__: None)
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main.run()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Done(code, out.getvalue(), err.getvalue())
