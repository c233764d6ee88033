import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.cli import vms
from tests.support.services import free_port

from vms.cli import up
from vms.cli.processes import ProcessSpec
from vms.common.clock import SystemClock
from vms.common.lockfile import hold_lock
from vms.common.settings import Sources


def plan(tmp_path: Path, *, host: str | None = None, **values: Any) -> up._Plan:
    settings = Sources(values=values, data_dir=tmp_path)
    return up._Plan(settings, None, host, None, up._addresses(settings))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine is read, and nothing of the product started."""
    monkeypatch.chdir(tmp_path)
    for service in ("INGEST", "STORAGE", "API"):
        monkeypatch.setenv(f"VMS_{service}__PORT", str(free_port()))

    async def nothing(*_: object) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(up, "_run", nothing)


def test_the_ports_are_those_of_the_contract(tmp_path: Path) -> None:
    services = plan(tmp_path)
    assert [services.url(name) for name in ("ingest", "storage", "api")] == [
        "http://localhost:9091",
        "http://localhost:9092",
        "http://localhost:9095",
    ]


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("0.0.0.0", "localhost"),  # noqa: S104 - nothing is bound here
        ("::", "localhost"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "[2001:db8::7]"),
        ("vms.example", "vms.example"),
    ],
)
def test_addresses_are_shown_as_a_browser_takes_them(host: str, shown: str, tmp_path: Path) -> None:
    assert plan(tmp_path, api={"host": host, "port": 1}).url("api") == f"http://{shown}:1"


def test_a_child_gets_the_directory_configuration_and_address_and_dies_with_its_parent(tmp_path: Path) -> None:
    settings = Sources(values={}, data_dir=tmp_path)
    spec = up._Plan(settings, Path("my.yaml"), "192.0.2.7", None, {}).spec("api")
    assert spec.name == "api"
    assert list(spec.arguments) == [
        *(sys.executable, "-m", "vms.cli.service_process", "api", "--data-dir", str(tmp_path), "--die-with-parent"),
        *("--config", "my.yaml", "--host", "192.0.2.7"),
    ]


def test_nothing_secret_is_in_the_command_line_of_a_child(tmp_path: Path) -> None:
    spec = plan(tmp_path, bus={"password": "s3cr3t"}, database={"url": "postgresql://u:s3cr3t@h/d"}).spec("api")
    assert "s3cr3t" not in " ".join(spec.arguments)


def test_it_ends_when_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = vms(monkeypatch, "up", "--data-dir", tmp_path / "data")
    assert (done.code, done.out) == (0, "")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_second_one_on_the_same_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold_lock(tmp_path / "vms.lock", what="it"):
        done = vms(monkeypatch, "up", "--data-dir", tmp_path)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert f"data directory {tmp_path} is in use by process" in done.err


def test_a_port_in_use_is_told_with_another_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("VMS_STORAGE__PORT", str(port))
        done = vms(monkeypatch, "up", "--data-dir", tmp_path)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert f"port {port} of 127.0.0.1 cannot be used by storage" in done.err


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("VMS_API__PORT", "many", "'api.port'"),
        ("VMS_INGEST__RING_S", "-1", "'ingest.ring_s'"),
        ("VMS_STORAGE__VOLUMES", "/srv", "storage.volumes"),
        ("VMS_BUS__PORT", "70000", "'bus.port'"),
        ("VMS_DATABASE__FILE", "x", "unknown key 'database.file'"),
        ("VMS_LOG__LEVEL", "loud", "'log.level'"),
    ],
)
def test_a_mistake_in_any_section_is_told_before_anything_starts(
    variable: str, value: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    done = vms(monkeypatch, "up", "--data-dir", tmp_path / "data")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert words in done.err
    assert not (tmp_path / "data").exists()


def test_a_section_that_is_no_section_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VMS_INGEST__PORT")
    (tmp_path / "vms.yaml").write_text("ingest: 5\n")
    done = vms(monkeypatch, "up")
    assert (done.code, done.err) == (1, "vms: vms.yaml: 'ingest' must hold keys and values\n")


def test_an_address_open_to_the_network_has_to_be_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = vms(monkeypatch, "up", "--host", "0.0.0.0", "--data-dir", tmp_path / "data")  # noqa: S104 - refused
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "allow_insecure_network" in refused.err
    assert not (tmp_path / "data").exists()


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    done = vms(monkeypatch, "up", "--data-dir", tmp_path / "file")
    assert (done.code, "use --data-dir" in done.err) == (1, True)


async def test_a_group_ends_with_all_its_processes() -> None:
    group = up._Group(SystemClock())
    for name in ("a", "b"):
        group.start(ProcessSpec(name, (sys.executable, "-c", "import signal; signal.pause()")))
    await asyncio.sleep(0)
    await group.stop()
    assert group._tasks == []
    await group.stop()
