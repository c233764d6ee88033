"""The ``vms`` command in this process: exit code, output, and its one line of error."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

import pytest
import structlog

from vms.cli import main, service_process, storage, up


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
    # Logging is set up once for a process, and its loggers would hold on to the output of the first command.
    for module in (up, service_process, storage):
        monkeypatch.setattr(module, "configure_logging", _log_to_stderr)
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main.run()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    structlog.reset_defaults()
    return Done(code, out.getvalue(), err.getvalue())


def _log_to_stderr(*_: object, **__: object) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr), cache_logger_on_first_use=False)
