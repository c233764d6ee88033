import pytest
from pydantic import ValidationError

from vms.api.config import ApiSettings


def test_by_default_only_this_machine_reaches_the_api_at_its_documented_port() -> None:
    settings = ApiSettings()
    assert (settings.host, settings.port, settings.allow_insecure_network) == ("127.0.0.1", 9095, False)


@pytest.mark.parametrize("wrong", [{"port": 70_000}, {"hosts": "x"}, {"reconcile_interval_s": 0}])
def test_a_wrong_or_misspelt_setting_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ApiSettings.model_validate(wrong)
