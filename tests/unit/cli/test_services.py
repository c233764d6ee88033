import pytest
from tests.support.cli import vms

from vms.cli import services
from vms.common.settings import Sources


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Sources]]:
    """Services that would have run, with their settings."""
    calls: list[tuple[str, Sources]] = []
    monkeypatch.setattr(services, "run_service", lambda name, settings: calls.append((name, settings)))
    return calls


@pytest.mark.parametrize("name", ["ingest", "storage", "api"])
def test_each_service_runs_alone_with_the_settings_of_this_invocation(
    name: str, started: list[tuple[str, Sources]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert vms(monkeypatch, name, "--data-dir", "/srv/x").code == 0
    ((service, settings),) = started
    assert (service, str(settings.data_dir)) == (name, "/srv/x")


def test_a_command_of_storage_does_not_start_the_service(
    started: list[tuple[str, Sources]], tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert vms(monkeypatch, "storage", "check", "--data-dir", tmp_path).code == 0
    assert started == []
