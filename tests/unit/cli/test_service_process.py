import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.services import free_port

from vms.bus.client import Bus
from vms.bus.settings import BusSettings
from vms.cli import service_process
from vms.cli.service_process import bus_settings_of, database_url_of, main
from vms.common.errors import ErrorKind, VmsError
from vms.common.settings import Sources, load_sources

SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("VMS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(service_process, "configure_logging", lambda *_, **__: None)


def test_without_a_configured_bus_the_one_of_the_data_directory_is_meant(tmp_path: Path) -> None:
    settings = bus_settings_of(Sources(values={}, data_dir=tmp_path))
    assert settings == BusSettings.discover(tmp_path)


def test_a_configured_bus_is_used_with_its_credentials() -> None:
    environ = {"VMS_BUS__URL": "nats://10.0.0.5:4333", "VMS_BUS__USER": "u", "VMS_BUS__PASSWORD": SECRET}
    settings = bus_settings_of(load_sources(None, environ=environ))
    assert (settings.host, settings.port, settings.user) == ("10.0.0.5", 4333, "u")
    assert settings.password.get_secret_value() == SECRET
    assert SECRET not in repr(settings)


def test_the_database_is_a_file_in_the_data_directory_unless_it_is_configured(tmp_path: Path) -> None:
    assert database_url_of(Sources(values={}, data_dir=tmp_path)).endswith(f"{tmp_path}/vms.db")
    url = "sqlite+aiosqlite:////x.db"
    assert database_url_of(Sources(values={"database": {"url": url}})) == url


def test_a_port_that_is_configured_once_holds_for_the_neighbour_too() -> None:
    values = service_process._with_neighbours(Sources(values={"api": {"port": 1}, "storage": {"port": 2}})).values
    assert values == {"api": {"port": 1, "storage_port": 2}, "storage": {"port": 2, "api_port": 1}}
    values = service_process._with_neighbours(Sources(values={"storage": {"port": 2, "api_port": 9}})).values
    assert values == {"api": {"storage_port": 2}, "storage": {"port": 2, "api_port": 9}}
    assert service_process._with_neighbours(Sources(values={"api": None})).values == {"api": None}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ingest: {prot: 1}", "unknown key 'ingest.prot'"),
        ("ingest: 5", "'ingest' must hold keys and values"),
        ("api: 5\ningest: {prot: 1}", "unknown key 'ingest.prot'"),  # a neighbour's mistake is the neighbour's to tell
        ("fly: 1", "unknown key 'fly'"),
        ("storage: {volumes: [{name: a}]}", "storage.volumes.0.path"),
    ],
)
def test_settings_that_do_not_fit_are_one_line_and_exit_code_1(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    assert main(["ingest", "--config", str(tmp_path / "bad.yaml"), "--data-dir", str(tmp_path / "data")]) == 1
    err = capsys.readouterr().err
    assert err.startswith("vms ingest: ")
    assert words in err
    assert err.count("\n") == 1


def test_a_data_directory_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["api", "--data-dir", str(tmp_path / "file")]) == 1
    assert "use --data-dir" in capsys.readouterr().err


def test_a_service_that_does_not_exist_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fly"])
    assert caught.value.code == 2


def service(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "vms.cli.service_process", *(str(argument) for argument in arguments)]


def environment(**settings: object) -> dict[str, str]:
    return {**os.environ, "VMS_LOG__FORMAT": "json", **{name: str(value) for name, value in settings.items()}}


def test_a_port_in_use_ends_the_service_with_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            service("api", "--data-dir", tmp_path / "data"),
            env=environment(VMS_API__PORT=port),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    assert f"vms api: api: port {port} is in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["ingest", "api"])
def test_a_service_ends_in_good_order_with_sigterm(name: str, tmp_path: Path) -> None:
    port = free_port()
    with subprocess.Popen(
        service(name, "--data-dir", tmp_path / "data"),
        env=environment(**{f"VMS_{name.upper()}__PORT": port}),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        asyncio.run(_until_listening(port))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr is not None
        text = process.stderr.read()
    assert '"event": "stopped"' in text
    assert "Traceback" not in text


async def _until_listening(port: int) -> None:
    from vms.cli.ready import wait_listening

    assert await wait_listening("127.0.0.1", port, 20)


def test_a_child_ends_with_its_parent_however_that_ends() -> None:
    code = "import os, signal, sys; from vms.cli.service_process import die_with_parent; die_with_parent();"
    child = f"{code} print(os.getpid(), flush=True); signal.pause()"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]).wait()"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
        process.wait()
        # The end of the pipe is the end of the child, which would wait for ever.
        assert process.stdout.read() == ""
    assert pid != process.pid


async def failing(error: Exception) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.sleep(0))
        tasks.create_task(fail(error))


async def fail(error: Exception) -> None:
    raise error


async def test_the_reason_is_told_however_deep_in_its_tasks_a_service_failed(tmp_path: Path) -> None:
    reason = VmsError(ErrorKind.CONFLICT, "port 1 is in use")

    async def run(_: Bus) -> None:
        await failing(ExceptionGroup("inner", [ValueError("noise"), reason]))

    with pytest.raises(VmsError, match="port 1 is in use") as caught:
        await service_process._until_signal("test", run, BusSettings.discover(tmp_path))
    assert caught.value is reason


async def test_a_bug_in_a_service_is_not_hidden(tmp_path: Path) -> None:
    async def run(_: Bus) -> None:
        await failing(ValueError("bug"))

    with pytest.raises(ExceptionGroup) as caught:
        await service_process._until_signal("test", run, BusSettings.discover(tmp_path))
    assert caught.value.subgroup(ValueError) is not None
