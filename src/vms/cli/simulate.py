"""``vms simulate``: cameras that are not there, for demonstrations and tests."""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from vms.common.errors import ErrorKind, VmsError
from vms.media.rtsp.server import RtspServer
from vms.media.rtsp.server_session import ServerLimits
from vms.media.rtsp.url import Credentials
from vms.media.simulate import MAX_CAMERAS, SimulatorSettings, run_simulator


def simulate(
    source: Annotated[str, typer.Argument(help="Video file (H.264 or H.265), or 'pattern' for a generated scene.")],
    cameras: Annotated[int, typer.Option("--cameras", help="How many cameras.")] = 1,
    port: Annotated[int, typer.Option("--port", help="RTSP port.")] = 8554,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    bitrate: Annotated[float, typer.Option("--bitrate", help="Mbit/s of the pattern.")] = 2.0,
    fps: Annotated[int, typer.Option("--fps", help="Frames per second of the pattern.")] = 25,
    size: Annotated[str, typer.Option("--size", help="Width x height of the pattern.")] = "1280x720",
    username: Annotated[str | None, typer.Option("--username", help="Ask for Digest authentication.")] = None,
    password: Annotated[str, typer.Option("--password", envvar="VMS_CAMERA_PASSWORD")] = "",
) -> None:
    """Serve rtsp://HOST:PORT/cam0 … cam{N-1} until Ctrl-C."""
    width, height = _size(size)
    settings = SimulatorSettings(
        file=_file(source),
        cameras=cameras,
        host=host,
        port=port,
        credentials=None if username is None else Credentials(username, password),
        width=width,
        height=height,
        fps=fps,
        bitrate_bps=round(bitrate * 1e6),
    )
    _serve(settings)


def _file(source: str) -> Path | None:
    return None if source == "pattern" else Path(source)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise VmsError(ErrorKind.INVALID, f"'{text}' is not a size: write it like 1280x720")
    return int(width), int(height)


def _serve(settings: SimulatorSettings) -> None:
    def ready(server: RtspServer) -> None:
        last = f" … cam{settings.cameras - 1}" if settings.cameras > 1 else ""
        print(f"ready rtsp://{settings.host}:{server.port}/cam0{last}", file=sys.stderr, flush=True)

    async def until_signal() -> None:
        task = asyncio.ensure_future(run_simulator(settings, ready=ready))
        for sig in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sig, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    import uvloop

    uvloop.run(until_signal())


def main(argv: list[str]) -> int:
    """Entry point of the simulator as a child process of ``vms up`` and ``vms bench``."""
    from vms.cli.service_process import die_with_parent

    parser = argparse.ArgumentParser(prog="vms simulate")
    parser.add_argument("source")
    parser.add_argument("--cameras", type=int, default=1)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8554)
    parser.add_argument("--packet-writes", action="store_true")
    args = parser.parse_args(argv)
    die_with_parent()
    try:
        limits = ServerLimits(clients=MAX_CAMERAS, packet_writes=args.packet_writes)
        _serve(
            SimulatorSettings(
                file=_file(args.source), cameras=args.cameras, host=args.host, port=args.port, limits=limits
            )
        )
    except VmsError as error:
        print(f"vms simulate: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
