"""``vms storage check`` and ``rebuild``: what is on disk, without any service running."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from vms.cli import services
from vms.cli.options import ConfigOption, DataDirOption, JsonOption, sources
from vms.cli.output import print_rows
from vms.cli.service_process import database_url_of
from vms.common.errors import ErrorKind, VmsError
from vms.common.settings import LogSettings, Sources
from vms.common.volumes import VolumeSettings, configured_volumes
from vms.telemetry.logging import configure_logging

app = typer.Typer(help="Run the storage service alone; or check and rebuild what is on disk.")
app.callback(invoke_without_command=True)(services.storage)

RepairOption = Annotated[bool, typer.Option("--repair", help="Mend what can be mended; nothing is deleted.")]


@app.command()
def check(
    repair: RepairOption = False,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every recording: files whole, indexes true. Exit code 1 when something is wrong and was not repaired."""
    from vms.format.check import check as check_tree

    rows: list[dict[str, object]] = []
    for volume in _volumes(sources(data_dir, config)):
        for problem in check_tree(volume.path):
            mended = repair and problem.is_repairable and _repair(problem.media_path)
            rows.append(
                {
                    "volume": volume.name,
                    "path": str(problem.path),
                    "kind": str(problem.kind),
                    "offset": problem.offset,
                    "message": problem.message,
                    "repaired": mended,
                }
            )
    columns = ("volume", "path", "kind", "offset", "message", "repaired")
    print_rows(rows, columns, as_json=as_json, empty="Nothing is wrong.")
    if any(not row["repaired"] for row in rows):
        raise typer.Exit(1)


@app.command()
def rebuild(
    repair: RepairOption = False,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild the catalogue from the files on disk; with --repair missing indexes are rebuilt from the media first."""
    from vms.storage.reconcile import rebuild_catalogue

    settings = sources(data_dir, config)
    # To stderr: what is printed here may be read by a program.
    configure_logging(settings.section("log", LogSettings), service="rebuild")
    volumes = _volumes(settings)
    if repair:
        _repair_all(volumes)
    url = database_url_of(settings)
    report = asyncio.run(rebuild_catalogue(volumes, url))
    row = {
        "files": report.files,
        "added": report.added,
        "removed": report.removed,
        "unreadable": report.unreadable,
    }
    print_rows([row], tuple(row), as_json=as_json, empty="")
    if report.unreadable:
        raise typer.Exit(1)


def _volumes(settings: Sources) -> tuple[VolumeSettings, ...]:
    """The volumes, all there: nothing is wrong with a directory that does not exist, and that would be a lie."""
    volumes = configured_volumes(settings)
    for volume in volumes:
        if not volume.path.is_dir():
            raise VmsError(
                ErrorKind.NOT_FOUND, f"volume {volume.name} is not at {volume.path}: mount it, or use --data-dir"
            )
    return volumes


def _repair_all(volumes: tuple[VolumeSettings, ...]) -> None:
    from vms.format.check import check as check_tree

    for volume in volumes:
        for problem in check_tree(volume.path):
            if problem.is_repairable:
                _repair(problem.media_path)


def _repair(path: Path) -> bool:
    from vms.format.repair import repair

    try:
        repair(path)
    except VmsError as error:
        print(f"vms: {path}: {error.message}", file=sys.stderr)
        return False
    return True
