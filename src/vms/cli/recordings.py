"""``vms recordings`` and ``vms export``."""

import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from vms.cli import client
from vms.cli.options import DEFAULT_API, ApiOption, JsonOption
from vms.cli.output import print_rows
from vms.common.timestamps import format_us, parse_us

app = typer.Typer(help="Recordings on disk.", no_args_is_help=True)
DEFAULT_STORAGE = "http://127.0.0.1:9092"

StartOption = Annotated[str | None, typer.Option("--start", help="RFC 3339 time, UTC unless it says otherwise.")]
EndOption = Annotated[str | None, typer.Option("--end", help="RFC 3339 time, UTC unless it says otherwise.")]


@app.command("list")
def list_recordings(
    camera: Annotated[str, typer.Argument(help="Camera id.")],
    start: StartOption = None,
    end: EndOption = None,
    api: ApiOption = DEFAULT_API,
    as_json: JsonOption = False,
) -> None:
    """List what is recorded of a camera."""
    query = {key: format_us(parse_us(value)) for key, value in (("start", start), ("end", end)) if value}
    url = f"{api}/api/v1/recordings/{quote(camera, safe='')}" + (f"?{urlencode(query)}" if query else "")
    rows = list(client.pages(url))
    columns = ("id", "start", "end", "state", "container", "codec", "frames", "bytes")
    print_rows(rows, columns, as_json=as_json, empty="Nothing is recorded in that time.")


def export(
    camera: Annotated[str, typer.Argument(help="Camera id.")],
    start: Annotated[str, typer.Option("--start", help="RFC 3339 time.")],
    end: Annotated[str, typer.Option("--end", help="RFC 3339 time.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="MP4 file to write.")],
    storage: Annotated[
        str, typer.Option("--storage", envvar="VMS_STORAGE_URL", help="Address of the storage service.")
    ] = DEFAULT_STORAGE,
) -> None:
    """Save a span as MP4, without re-encoding, from the keyframe at or before its start."""
    query = urlencode({"start": format_us(parse_us(start)), "end": format_us(parse_us(end))})
    size = client.download(f"{storage}/recordings/{quote(camera, safe='')}/clip.mp4?{query}", output)
    print(f"{output}: {size / 1e6:.1f} MB", file=sys.stderr)
