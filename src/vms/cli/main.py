"""The ``vms`` command. Exit codes: 0 done, 1 failed, 2 wrong usage."""

import importlib
import os
import sys
from typing import Final

import typer

from vms import __version__
from vms.common.errors import VmsError

# Command → module and attribute: a function, or a group of its own. Only what is asked for is imported, because
# `./vms up` must not wait for what it does not run.
_COMMANDS: Final = {
    "up": "up:up",
    "camera": "camera:app",
    "recordings": "recordings:app",
    "export": "recordings:export",
    "storage": "storage:app",
    "simulate": "simulate:simulate",
    "bench": "bench:app",
    "ingest": "services:ingest",
    "api": "services:api",
}


def app() -> None:
    """Run the command that the arguments name."""
    _make_app(sys.argv[1] if len(sys.argv) > 1 else "")(prog_name="vms")


def run() -> None:
    """Entry point: every failure is one line on stderr."""
    try:
        app()
    except VmsError as error:
        print(f"vms: {error.message}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`vms … | head`); nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _make_app(command: str) -> typer.Typer:
    made = typer.Typer(
        name="vms",
        help="Video management system: records IP cameras without losing a frame.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    made.command("version")(_version)
    made.callback()(_group)
    for name in (command,) if command in _COMMANDS else _COMMANDS:
        module, _, attribute = _COMMANDS[name].partition(":")
        found = getattr(importlib.import_module(f"vms.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            made.add_typer(found, name=name)
        else:
            made.command(name)(found)
    return made


def _group() -> None:
    """Video management system: records IP cameras without losing a frame."""


def _version() -> None:
    """Print the version."""
    print(__version__)


if __name__ == "__main__":
    run()
