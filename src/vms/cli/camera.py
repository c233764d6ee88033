"""``vms camera``: add, list, remove, test."""

import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer

from vms.cli import client
from vms.cli.options import DEFAULT_API, ApiOption, JsonOption
from vms.cli.output import print_rows
from vms.common.errors import ErrorKind, VmsError

app = typer.Typer(help="Cameras: add, list, remove, test.", no_args_is_help=True)

UsernameOption = Annotated[str | None, typer.Option("--username", "-u", help="User name of the camera.")]
PasswordOption = Annotated[
    str | None,
    typer.Option(
        "--password",
        "-p",
        envvar="VMS_CAMERA_PASSWORD",
        show_envvar=True,
        help="Password of the camera; '-' reads it from standard input, which keeps it out of the process list.",
    ),
]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name that people know the camera by.")],
    url: Annotated[str, typer.Argument(help="rtsp://host[:port]/path")],
    username: UsernameOption = None,
    password: PasswordOption = None,
    container: Annotated[str, typer.Option(help="mp4 or mkv.")] = "mp4",
    retention_days: Annotated[float | None, typer.Option(help="Days to keep recordings (default 30).")] = None,
    api: ApiOption = DEFAULT_API,
    as_json: JsonOption = False,
) -> None:
    """Add a camera; it is recorded from now on."""
    body: dict[str, Any] = {"name": name, "url": url, "container": container}
    if username is not None:
        body["username"] = username
    if password is not None:
        body["password"] = _secret(password)
    if retention_days is not None:
        body["retention_days"] = retention_days
    camera = client.call("POST", f"{api}/api/v1/cameras", body)
    if as_json:
        print_rows([camera], (), as_json=True, empty="")
    else:
        print(f"{camera['id']}  {camera['name']}  {camera['url']}")


@app.command("list")
def list_cameras(api: ApiOption = DEFAULT_API, as_json: JsonOption = False) -> None:
    """List cameras and how they are doing."""
    cameras = list(client.pages(f"{api}/api/v1/cameras"))
    rows = cameras if as_json else [_summary(camera) for camera in cameras]
    columns = ("id", "name", "state", "fps", "mbit_s", "resolution", "url", "last_error")
    print_rows(rows, columns, as_json=as_json, empty="No cameras yet. Add one: vms camera add NAME rtsp://…")


@app.command()
def remove(camera: Annotated[str, typer.Argument(help="Camera id.")], api: ApiOption = DEFAULT_API) -> None:
    """Remove a camera. Its recordings stay until their retention ends."""
    client.call("DELETE", f"{api}/api/v1/cameras/{quote(camera, safe='')}")
    print(f"{camera} removed; its recordings stay until their retention ends", file=sys.stderr)


@app.command()
def test(
    url: Annotated[str, typer.Argument(help="rtsp://host[:port]/path")],
    username: UsernameOption = None,
    password: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Connect to a camera from here, wait for a picture, and say what it sends."""
    import asyncio

    from vms.common.camera import check_camera_url
    from vms.common.clock import SystemClock
    from vms.media.rtsp.probe import probe

    try:
        check_camera_url(url)
    except ValueError as error:
        raise VmsError(ErrorKind.INVALID, str(error)) from None
    info = asyncio.run(probe(url, username=username or "", password=_secret(password or ""), clock=SystemClock()))
    row = info.model_dump(mode="json")
    print_rows([row], ("url", "codec", "width", "height", "fps", "server"), as_json=as_json, empty="")


def _secret(value: str) -> str:
    return sys.stdin.readline().rstrip("\n") if value == "-" else value


def _summary(camera: dict[str, Any]) -> dict[str, object]:
    status = camera.get("status") or {}
    size = f"{status['width']}x{status['height']}" if status.get("width") else None
    return {
        "id": camera["id"],
        "name": camera["name"],
        "url": camera["url"],
        "state": status.get("state"),
        "fps": status.get("fps"),
        "mbit_s": (status.get("bitrate_bps") or 0) / 1e6,
        "resolution": size,
        "last_error": status.get("last_error"),
    }
