"""``vms up``: the whole product on one machine."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vms.cli import demo
from vms.cli.options import ConfigOption, DataDirOption, sources
from vms.cli.processes import ProcessSpec, SupervisedProcess, python_module
from vms.cli.ready import wait_listening, wait_ready
from vms.common.clock import Clock, SystemClock
from vms.common.errors import ErrorKind, VmsError
from vms.common.lockfile import hold_lock
from vms.common.settings import (
    BusConnection,
    DatabaseSettings,
    LogSettings,
    Sources,
    config_file_from,
    prepare_data_dir,
)
from vms.common.volumes import configured_volumes
from vms.telemetry.logging import configure_logging, get_logger

_log = get_logger("vms.up")
_HEAD_START_S: Final = 1.0
_SERVICES: Final = ("ingest", "storage", "api")


def up(
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option("--host", help="Address that the services listen on.")] = None,
    demo_cameras: Annotated[
        bool | None,
        typer.Option("--demo/--no-demo", help="Demo cameras: by default only while no other camera is configured."),
    ] = None,
) -> None:
    """Run everything on this machine: bus, ingest, storage, API."""
    overrides: dict[str, Any] = {}
    if host is not None:
        overrides = {name: {"host": host} for name in _SERVICES}
    settings = sources(data_dir, config, overrides)
    configure_logging(settings.section("log", LogSettings), service="up")
    addresses = _addresses(settings)
    _check_access(settings)
    prepare_data_dir(settings.data_dir)
    with hold_lock(settings.data_dir / "vms.lock", what=f"data directory {settings.data_dir}"):
        plan = _Plan(settings, config_file_from(os.environ, config), host, demo_cameras, addresses)
        plan.check_ports()
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_run(plan, SystemClock()))


@dataclass(frozen=True)
class _Plan:
    """What to start, and where."""

    settings: Sources
    config: Path | None
    host: str | None
    demo: bool | None
    addresses: Mapping[str, tuple[str, int]]  # host and port by service

    def url(self, service: str) -> str:
        host, port = self.addresses[service]
        if host in {"127.0.0.1", "0.0.0.0", "::", "::1"}:  # noqa: S104 - compared, not bound
            host = "localhost"
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def check_ports(self) -> None:
        for service, (host, port) in self.addresses.items():
            _check_free(service, host, port)

    def spec(self, service: str) -> ProcessSpec:
        arguments = [service, "--data-dir", str(self.settings.data_dir), "--die-with-parent"]
        if self.config is not None:
            arguments += ["--config", str(self.config)]
        if self.host is not None:
            arguments += ["--host", self.host]
        return ProcessSpec(service, python_module("vms.cli.service_process", *arguments))


async def _run(plan: _Plan, clock: Clock) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sig, stop.set)
    # Recording first: ingest needs neither bus nor API to go on with the cameras that it knows.
    recorders = _Group(clock)
    others = _Group(clock)
    simulator = _Group(clock)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(simulator.stop)  # last, or its cameras would be reported as lost
        stack.push_async_callback(others.stop)
        stack.push_async_callback(recorders.stop)
        demo_cameras = demo.remembered(plan.settings.data_dir) if plan.demo is not False else None
        if demo_cameras is not None:
            simulator.start(demo_cameras.spec())
        recorders.start(plan.spec("ingest"))
        await stack.enter_async_context(_bus(plan))
        # Pushed again so that services stop before the bus that they say goodbye on.
        stack.push_async_callback(others.stop)
        stack.push_async_callback(recorders.stop)
        if demo_cameras is not None:
            # Two more interpreters that load frameworks would keep recorder and simulator from the processor.
            await _unless(stop, asyncio.sleep(_HEAD_START_S))
        others.start(plan.spec("api"))
        others.start(plan.spec("storage"))
        await _unless(stop, _announce(plan, simulator, demo_cameras))
        await stop.wait()
        _log.info("stopping")


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do ``work``; leave off as soon as ``stop`` is set."""
    working, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if working.done():
        working.result()
    working.cancel()


async def _announce(plan: _Plan, simulator: "_Group", known: "demo.DemoCameras | None") -> None:
    """Wait until everything answers, set up demo cameras if they are wanted, and print where things are."""
    await wait_ready({name: plan.url(name) for name in _SERVICES})
    api, data_dir = plan.url("api"), plan.settings.data_dir
    cameras = await asyncio.to_thread(demo.choose, api, data_dir, plan.demo, known)
    if cameras is not None:
        if known is None:
            # Before ingest hears of them: a newcomer's first lines are not to be about cameras that do not answer.
            simulator.start(cameras.spec())
            await wait_listening("127.0.0.1", cameras.port)
        await asyncio.to_thread(demo.register, api, data_dir, plan.demo, cameras)
    print(
        f"\n  VMS Enterprise is running. Ctrl-C stops it.\n\n"
        f"    Web page      {plan.url('api')}/\n"
        f"    REST API      {plan.url('api')}/api/v1/cameras   (documentation: {plan.url('api')}/docs)\n"
        f"    Recordings    {plan.settings.data_dir}\n"
        f"    Metrics       {plan.url('ingest')}/metrics  {plan.url('storage')}/metrics  {plan.url('api')}/metrics\n"
        + (f"    Demo cameras  {', '.join(cameras.urls())}\n" if cameras is not None else ""),
        file=sys.stderr,
        flush=True,
    )


class _Group:
    """Processes that start and stop together."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, spec: ProcessSpec) -> None:
        self._tasks.append(asyncio.create_task(SupervisedProcess(spec, self._clock).run(), name=spec.name))

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def _bus(plan: _Plan) -> AsyncIterator[None]:
    """The embedded NATS server, unless the configuration names one."""
    connection = plan.settings.section("bus", BusConnection)
    if connection.url is not None:
        yield
        return
    from vms.bus.server import EmbeddedNats

    async with EmbeddedNats(plan.settings.data_dir, port=connection.port, binary=connection.binary):
        yield


def _addresses(settings: Sources) -> dict[str, tuple[str, int]]:
    """Where the services listen. Reads every section, so that a mistake is told before anything starts."""
    from vms.api.config import ApiSettings
    from vms.ingest.config import IngestSettings
    from vms.storage.config import StorageSettings

    settings.section("bus", BusConnection)
    settings.section("database", DatabaseSettings)
    configured_volumes(settings)
    ingest, storage = settings.section("ingest", IngestSettings), settings.section("storage", StorageSettings)
    api = settings.section("api", ApiSettings)
    return {
        "ingest": (ingest.host, ingest.port),
        "storage": (storage.host, storage.port),
        "api": (api.host, api.port),
    }


def _check_access(settings: Sources) -> None:
    """What each service would refuse by itself, over and over. Raises VmsError(INVALID)."""
    from vms.api.config import ApiSettings
    from vms.ingest.config import IngestSettings
    from vms.storage.config import StorageSettings

    sections: tuple[tuple[str, IngestSettings | StorageSettings | ApiSettings], ...] = (
        ("ingest", settings.section("ingest", IngestSettings)),
        ("storage", settings.section("storage", StorageSettings)),
        ("api", settings.section("api", ApiSettings)),
    )
    for name, section in sections:
        if section.host == "127.0.0.1":  # the usual start does not pay for the import
            continue
        from vms.web.access import access_policy

        access_policy(
            host=section.host,
            allowed_hosts=section.allowed_hosts,
            cors_origins=(),
            allow_insecure_network=section.allow_insecure_network,
            service=name,
        )


def _check_free(service: str, host: str, port: int) -> None:
    if port == 0:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            raise VmsError(
                ErrorKind.CONFLICT,
                f"port {port} of {host} cannot be used by {service} ({error.strerror}): "
                f"stop the other program or choose another port, e.g. VMS_{service.upper()}__PORT={port + 1000}",
                port=port,
            ) from None
