import asyncio
import json
import os
import signal
import socket
import stat
import sys
import time
from pathlib import Path

import pytest
from tests.support.nats import until

from vms.bus.client import Bus
from vms.bus.endpoint import read_greeting
from vms.bus.server import EmbeddedNats
from vms.bus.settings import BusSettings, endpoint_path
from vms.common.errors import ErrorKind, VmsError


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


async def test_it_starts_fast_keeps_its_secrets_private_and_leaves_nothing_running(tmp_path: Path) -> None:
    started = time.monotonic()
    async with EmbeddedNats(tmp_path, port=0) as server:
        assert time.monotonic() - started < 0.5
        pid = server.pid
        assert pid is not None
        password = server.settings.password.get_secret_value()
        assert password not in command_line(pid)
        for name in ("server.conf", "credentials", "endpoint.json"):
            assert stat.S_IMODE((tmp_path / "nats" / name).stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "nats").stat().st_mode) == 0o700
        assert password not in (tmp_path / "nats" / "nats.log").read_text()
        assert BusSettings.discover(tmp_path).resolve().url == server.url
        assert (tmp_path / "nats" / "jetstream").is_dir()
    assert not alive(pid)
    assert not endpoint_path(tmp_path).exists()


async def test_without_the_password_nobody_gets_in(tmp_path: Path) -> None:
    async with EmbeddedNats(tmp_path, port=0) as server, Bus(BusSettings(url=server.url), "stranger") as bus:
        with pytest.raises(VmsError, match="refuses the user or password"):
            await bus.wait_connected(0.5)


async def test_a_taken_port_is_replaced_by_a_free_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with EmbeddedNats(tmp_path, port=port) as server:
            assert server.settings.port != port


async def test_a_server_that_dies_is_started_again_at_the_same_address(tmp_path: Path) -> None:
    events: list[str] = []

    def report(event: str, /, **_: object) -> None:
        events.append(event)

    async with EmbeddedNats(tmp_path, port=0, report=report) as server, Bus(server.settings, "t") as bus:
        await bus.wait_connected(5)
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: bus.stats.connections == 2)
        assert server.pid not in {None, first}
    assert events == ["nats_server_died"]


async def test_a_second_server_of_the_same_directory_is_refused_and_does_not_disturb_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vms.bus.server_files._LOCK_TIMEOUT_S", 0.05)
    async with EmbeddedNats(tmp_path, port=0) as server:
        with pytest.raises(VmsError) as caught:
            await EmbeddedNats(tmp_path, port=0).__aenter__()
        assert caught.value.kind is ErrorKind.CONFLICT
        assert BusSettings.discover(tmp_path).resolve().url == server.url


async def test_a_stale_endpoint_file_is_gone_before_the_server_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stale = {
            "url": f"nats://127.0.0.1:{stranger.getsockname()[1]}",
            "user": "u",
            "password": "p",
            "server_name": "n",
        }
        endpoint_path(tmp_path).parent.mkdir()
        endpoint_path(tmp_path).write_text(json.dumps(stale))
        async with EmbeddedNats(tmp_path, port=0) as server:
            assert BusSettings.discover(tmp_path).resolve().url == server.url != stale["url"]


async def test_a_client_refuses_a_server_that_took_the_address_of_ours(tmp_path: Path) -> None:
    async with EmbeddedNats(tmp_path, port=0) as server:
        stale = server.settings.model_copy(update={"server_name": "vms-before"})
        async with Bus(stale, "t") as bus:
            with pytest.raises(VmsError, match="another NATS server"):
                await bus.wait_connected(0.3)


async def test_a_program_that_is_no_nats_server_is_one_clear_error(tmp_path: Path) -> None:
    fake = tmp_path / "fake"
    fake.write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
    fake.chmod(0o755)
    with pytest.raises(VmsError, match=r"code 3\): no such luck"):
        await EmbeddedNats(tmp_path / "data", port=0, binary=fake).__aenter__()
    assert not endpoint_path(tmp_path / "data").exists()


async def test_a_directory_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VmsError) as caught:
        await EmbeddedNats(tmp_path / "file", port=0).__aenter__()
    assert caught.value.kind is ErrorKind.STORAGE


async def test_cancelling_run_stops_the_server(tmp_path: Path) -> None:
    server = EmbeddedNats(tmp_path, port=0)
    task = asyncio.create_task(server.run())
    await until(lambda: endpoint_path(tmp_path).exists())
    pid = server.pid
    assert pid is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(pid)


PARENT = """
import asyncio, sys
from pathlib import Path
from vms.bus.server import EmbeddedNats
asyncio.run(EmbeddedNats(Path(sys.argv[1]), port=0).run())
"""


async def test_a_killed_parent_takes_its_server_with_it_and_the_next_start_succeeds(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, tmp_path)
    try:
        await until(lambda: endpoint_path(tmp_path).exists())
        endpoint = json.loads(endpoint_path(tmp_path).read_text())
        assert alive(endpoint["pid"])
    finally:
        parent.kill()
        await parent.wait()
    async with EmbeddedNats(tmp_path, port=0) as server:
        assert not alive(endpoint["pid"])
        greeting = await read_greeting("127.0.0.1", server.settings.port, timeout_s=1)
        assert greeting.server_name != endpoint["server_name"]
        # The password outlives the process, so clients that kept it get in again.
        assert server.settings.password.get_secret_value() == endpoint["password"]
