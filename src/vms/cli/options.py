"""Options that several commands share, and how they become settings."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from vms.common.settings import Sources, config_file_from, load_sources

DataDirOption = Annotated[Path | None, typer.Option("--data-dir", help="Data directory (default ./data).")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="Configuration file (default ./vms.yaml if there).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ApiOption = Annotated[
    str, typer.Option("--api", envvar="VMS_API_URL", help="Address of the API service.", show_default=True)
]
DEFAULT_API = "http://127.0.0.1:9095"


def sources(data_dir: Path | None, config: Path | None, overrides: dict[str, Any] | None = None) -> Sources:
    """Settings of this invocation: command line over environment over file over defaults."""
    merged: dict[str, Any] = {"data_dir": data_dir, **(overrides or {})}
    return load_sources(config_file_from(os.environ, config), environ=os.environ, overrides=merged)
