import json
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from vms.bus.settings import BusSettings, endpoint_path
from vms.common.errors import ErrorKind, VmsError


def write_endpoint(data_dir: Path, **changes: object) -> None:
    path = endpoint_path(data_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    endpoint = {"url": "nats://127.0.0.1:4333", "user": "vms", "password": "pw-1234567890", "server_name": "n1"}
    path.write_text(json.dumps({**endpoint, **changes}))


@pytest.mark.parametrize("url", ["http://h:1", "nats://", "127.0.0.1", "nats://h:99999", "nats://u:p@h:4222"])
def test_an_address_that_is_not_one_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        BusSettings(url=url)


def test_the_default_is_the_documented_port_on_loopback() -> None:
    assert (BusSettings().host, BusSettings().port) == ("127.0.0.1", 4222)
    assert BusSettings(url="nats://[::1]").port == 4222


def test_discovery_takes_address_and_credentials_from_the_endpoint_file_and_keeps_limits(tmp_path: Path) -> None:
    write_endpoint(tmp_path)
    settings = BusSettings.discover(tmp_path).model_copy(update={"fragments_max_bytes": 5 << 20}).resolve()
    assert (settings.url, settings.user, settings.server_name) == ("nats://127.0.0.1:4333", "vms", "n1")
    assert settings.password.get_secret_value() == "pw-1234567890"
    assert settings.fragments_max_bytes == 5 << 20
    assert settings.endpoint_file is None


def test_discovery_before_the_server_runs_says_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(VmsError, match="vms up") as caught:
        BusSettings.discover(tmp_path).resolve()
    assert caught.value.kind is ErrorKind.UNAVAILABLE


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"url": 1, "user": 2, "password": "hunter2", "server_name": 3}']
)
def test_a_spoilt_endpoint_file_is_one_clear_error_without_its_secret(tmp_path: Path, text: str) -> None:
    write_endpoint(tmp_path)
    endpoint_path(tmp_path).write_text(text)
    with pytest.raises(VmsError) as caught:
        BusSettings.discover(tmp_path).resolve()
    assert caught.value.kind is ErrorKind.CORRUPT
    assert "hunter2" not in str(caught.value)


def test_settings_do_not_show_their_secrets() -> None:
    assert "s3cret" not in repr(BusSettings(password=SecretStr("s3cret"), token=SecretStr("s3cret-token")))


def test_settings_without_an_endpoint_file_resolve_to_themselves() -> None:
    settings = BusSettings(url="nats://192.0.2.1:4222")
    assert settings.resolve() is settings
