"""``vms ingest``, ``vms storage``, ``vms api``: one service alone, for spreading over machines."""

import typer

from vms.cli.options import ConfigOption, DataDirOption, sources
from vms.cli.service_process import run_service


def ingest(data_dir: DataDirOption = None, config: ConfigOption = None) -> None:
    """Run the ingest service alone (needs a bus: bus.url, or `vms up` on the same data directory)."""
    run_service("ingest", sources(data_dir, config))


def storage(context: typer.Context, data_dir: DataDirOption = None, config: ConfigOption = None) -> None:
    """Run the storage service alone, or check and rebuild what is on disk."""
    if context.invoked_subcommand is None:
        run_service("storage", sources(data_dir, config))


def api(data_dir: DataDirOption = None, config: ConfigOption = None) -> None:
    """Run the API service alone."""
    run_service("api", sources(data_dir, config))
