from pathlib import Path

import pytest

from vms.cli.options import DEFAULT_API, sources


def test_options_win_over_the_environment_and_the_file_of_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vms.yaml").write_text("data_dir: from-file\napi: {port: 1, host: file}\n")
    assert sources(None, None).data_dir == tmp_path / "from-file"
    monkeypatch.setenv("VMS_DATA_DIR", "from-environment")
    assert sources(None, None).data_dir == tmp_path / "from-environment"
    settings = sources(Path("from-option"), None, {"api": {"port": 2}})
    assert settings.data_dir == tmp_path / "from-option"
    assert settings.values["api"] == {"port": 2, "host": "file"}


def test_a_named_configuration_wins_over_the_one_of_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vms.yaml").write_text("data_dir: a\n")
    (tmp_path / "other.yaml").write_text("data_dir: b\n")
    assert sources(None, Path("other.yaml")).data_dir == tmp_path / "b"


def test_the_api_is_where_the_contract_says() -> None:
    assert DEFAULT_API == "http://127.0.0.1:9095"
