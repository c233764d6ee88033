"""One service in one process: settings, logging, bus, signals. ``vms up`` starts it as a child.

    python -m vms.cli.service_process ingest --data-dir DIR [--config FILE] [--host ADDR] [--die-with-parent]

It imports only what its service needs: ingest is recording before the web framework is loaded.
"""

import argparse
import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from vms.bus.client import Bus
from vms.bus.settings import BusSettings
from vms.common.errors import VmsError
from vms.common.settings import (
    BusConnection,
    DatabaseSettings,
    LogSettings,
    Sources,
    config_file_from,
    load_sources,
    prepare_data_dir,
)
from vms.common.volumes import configured_volumes
from vms.telemetry.logging import configure_logging, get_logger

SERVICES: Final = ("ingest", "storage", "api")
_PR_SET_PDEATHSIG: Final = 1

Run = Callable[[Bus], Awaitable[None]]


def run_service(name: str, sources: Sources) -> None:
    """Run a service until SIGTERM or SIGINT. Raises VmsError when it cannot start."""
    configure_logging(sources.section("log", LogSettings), service=name)
    prepare_data_dir(sources.data_dir)
    run = _load(name, sources)
    bus_settings = bus_settings_of(sources)
    import uvloop

    uvloop.run(_until_signal(name, run, bus_settings))


def bus_settings_of(sources: Sources) -> BusSettings:
    """The configured bus, or the embedded one of this data directory, as far as it is known yet."""
    connection = sources.section("bus", BusConnection)
    if connection.url is None:
        return BusSettings.discover(sources.data_dir)
    return BusSettings(url=connection.url, user=connection.user or "", password=SecretStr(connection.password or ""))


def database_url_of(sources: Sources) -> str:
    """The configured database, or SQLite in the data directory."""
    from vms.db.engine import sqlite_url

    return sources.section("database", DatabaseSettings).url or sqlite_url(sources.data_dir / "vms.db")


def main(argv: list[str]) -> int:
    """Entry point of a child of ``vms up``."""
    parser = argparse.ArgumentParser(prog="vms service")
    parser.add_argument("service", choices=SERVICES)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--host")
    parser.add_argument("--die-with-parent", action="store_true")
    args = parser.parse_args(argv)
    if args.die_with_parent:
        die_with_parent()
    overrides: dict[str, object] = {"data_dir": args.data_dir}
    if args.host is not None:
        overrides[args.service] = {"host": args.host}
    try:
        file = config_file_from(os.environ, args.config)
        run_service(args.service, load_sources(file, environ=os.environ, overrides=overrides))
    except VmsError as error:
        print(f"vms {args.service}: {error.message}", file=sys.stderr)
        return 1
    return 0


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent ends, however it ends, so that no service is left behind."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it ended between the two lines
        os.kill(os.getpid(), signal.SIGTERM)


def _with_neighbours(sources: Sources) -> Sources:
    """API and storage each name the other's port; a port that is configured once holds for both."""
    values = {key: dict(value) if isinstance(value, Mapping) else value for key, value in sources.values.items()}
    for service, neighbour in (("api", "storage"), ("storage", "api")):
        section, other = values.get(service) or {}, values.get(neighbour) or {}
        # What is not a mapping is refused, by its name, when its section is read.
        if isinstance(section, Mapping) and isinstance(other, Mapping) and other.get("port") is not None:
            values[service] = {f"{neighbour}_port": other["port"], **section}
    return replace(sources, values=values)


def _load(name: str, sources: Sources) -> Run:
    """Import the service and read its settings; what it returns runs it."""
    sources = _with_neighbours(sources)
    volumes = configured_volumes(sources)
    if name == "ingest":
        from vms.ingest import main as ingest
        from vms.ingest.config import IngestSettings

        ingest_settings = sources.section("ingest", IngestSettings)
        return lambda bus: ingest.run(ingest_settings, bus, data_dir=sources.data_dir, volumes=volumes)
    url = database_url_of(sources)
    if name == "storage":
        from vms.storage import main as storage
        from vms.storage.config import StorageSettings

        storage_settings = sources.section("storage", StorageSettings)
        return lambda bus: storage.run(storage_settings, bus, database_url=url, data_dir=sources.data_dir)
    from vms.api import main as api
    from vms.api.config import ApiSettings

    api_settings = sources.section("api", ApiSettings)
    names = [volume.name for volume in volumes]
    return lambda bus: api.run(api_settings, bus, database_url=url, volumes=names)


async def _until_signal(name: str, run: Run, bus_settings: BusSettings) -> None:
    """Run the service; a signal cancels it, and its own clean-up decides what is finished before it leaves."""
    loop = asyncio.get_running_loop()
    log = get_logger(name)
    async with Bus(bus_settings, name) as bus:
        task = asyncio.ensure_future(run(bus))
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            log.info("stopped")
        except ExceptionGroup as group:
            raise _reason(group) from group


def _reason(group: ExceptionGroup[Exception]) -> Exception:
    """What a person should read when several tasks of a service ended: the first error that says what to do."""
    for error in group.exceptions:
        reason = _reason(error) if isinstance(error, ExceptionGroup) else error
        if isinstance(reason, VmsError):
            return reason
    return group


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
