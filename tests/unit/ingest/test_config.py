import pytest
from pydantic import ValidationError

from vms.ingest.config import IngestSettings


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = IngestSettings()
    assert (settings.host, settings.port) == ("127.0.0.1", 9091)
    assert (settings.fragment_s, settings.sync_interval_s, settings.rotation_s) == (1.0, 10, 3600)
    assert (settings.retry_first_s, settings.retry_limit_s) == (0.5, 30)


@pytest.mark.parametrize(
    "values",
    [
        {"fragment_s": 2},  # a crash may not lose more than a second
        {"rotation_s": 7200},  # file names are hours
        {"tick_s": 0},
        {"ring_s": 0.5},
        {"status_interval_s": 60},  # a camera is checked at least every 30 s
        {"port": 65536},
        {"prot": 1},
    ],
)
def test_values_that_would_break_a_promise_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        IngestSettings.model_validate(values)
