"""``vms bench``: what recording costs here, beside the floor and other recorders in the same run."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from vms.common.errors import ErrorKind, VmsError

app = typer.Typer(help="Benchmarks against the floor and against peers.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Benchmarks against the floor and against peers."""


@app.command("ingest")
def ingest(
    cameras: Annotated[int, typer.Option("--cameras", help="Cameras to record.")] = 20,
    seconds: Annotated[float, typer.Option("--seconds", help="Length of each measurement.")] = 20,
    bitrate: Annotated[float, typer.Option("--bitrate", help="Mbit/s per camera.")] = 4.0,
    rounds: Annotated[int, typer.Option("--rounds", help="Repeat ours and the floor; the medians count.")] = 1,
    paced: Annotated[
        bool, typer.Option("--paced", help="Packets one by one over a limited link between network namespaces (root).")
    ] = False,
    link: Annotated[float, typer.Option("--link", help="Mbit/s of that link.")] = 150.0,
    frame_writes: Annotated[
        bool,
        typer.Option("--frame-writes", help="Cameras write a frame at once, instead of packets back to back."),
    ] = False,
    peers: Annotated[bool, typer.Option("--peers/--no-peers", help="Measure ffmpeg and GStreamer too.")] = True,
    work_dir: Annotated[
        Path | None, typer.Option("--work-dir", help="Where to record (default: a temporary one).")
    ] = None,
    json_file: Annotated[str | None, typer.Option("--json", help="Write JSON to this file; '-' for stdout.")] = None,
) -> None:
    """Record simulated 1080p25 cameras with our ingest, the raw floor, ffmpeg and GStreamer, one after the other."""
    from vms.bench.ingest import BenchSettings, run_bench
    from vms.bench.report import as_json, table

    settings = BenchSettings(
        cameras=cameras,
        seconds=seconds,
        bitrate_mbps=bitrate,
        rounds=rounds,
        paced_mbit=link if paced else None,
        frame_writes=frame_writes,
        peers=peers,
        work_dir=work_dir,
    )
    result = asyncio.run(run_bench(settings, progress=lambda text: print(text, file=sys.stderr, flush=True)))
    print(table(result), file=sys.stderr)
    if json_file is not None:
        text = json.dumps(as_json(result), indent=2)
        if json_file == "-":
            print(text)
        else:
            _write(Path(json_file), text)
    if not result.is_lossless:
        raise VmsError(ErrorKind.INTERNAL, "frames were lost: the figures are not those of a whole recording")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise VmsError(ErrorKind.STORAGE, f"{path} cannot be written: {error.strerror}") from None
