"""The ``vms`` command. Exit codes: 0 done, 1 failed, 2 wrong usage."""

import os
import sys

import typer

from vms import __version__
from vms.cli import bench, camera, recordings, services, simulate, storage, up
from vms.common.errors import VmsError

app = typer.Typer(
    name="vms",
    help="Video management system: records IP cameras without losing a frame.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("up")(up.up)
app.add_typer(camera.app, name="camera")
app.add_typer(recordings.app, name="recordings")
app.command("export")(recordings.export)
app.command("simulate")(simulate.simulate)
app.add_typer(bench.app, name="bench")
app.command("ingest")(services.ingest)
storage.app.callback(invoke_without_command=True)(services.storage)
app.add_typer(storage.app, name="storage")
app.command("api")(services.api)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


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


if __name__ == "__main__":
    run()
