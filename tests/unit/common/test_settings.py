import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.errors import refusal_of

from vms.common.errors import ErrorKind, VmsError
from vms.common.settings import (
    SECTIONS,
    BusConnection,
    LogSettings,
    SettingsModel,
    Sources,
    config_file_from,
    load_sources,
    prepare_data_dir,
)


class Example(SettingsModel):
    port: int = 1
    host: str = "here"
    nested: dict[str, int] = {}  # noqa: RUF012 - a pydantic default


def load(tmp_path: Path, text: str = "", **environ: str) -> Sources:
    file = tmp_path / "vms.yaml"
    file.write_text(text)
    return load_sources(file, environ=environ)


def refusal(tmp_path: Path, text: str = "", **environ: str) -> str:
    with pytest.raises(VmsError) as caught:
        load(tmp_path, text, **environ)
    assert caught.value.kind is ErrorKind.INVALID
    assert "\n" not in caught.value.message
    return caught.value.message


ports = st.none() | st.integers(1, 9)


@given(ports, ports, ports)
def test_command_line_wins_over_environment_over_file_over_default(
    tmp_path_factory: pytest.TempPathFactory, in_file: int | None, in_environment: int | None, on_line: int | None
) -> None:
    file = tmp_path_factory.getbasetemp() / "vms.yaml"
    file.write_text("" if in_file is None else f"api: {{port: {in_file}, host: file}}")
    environ = {} if in_environment is None else {"VMS_API__PORT": str(in_environment)}
    settings = load_sources(file, environ=environ, overrides={"api": {"port": on_line}})
    section = settings.section("api", Example)
    assert section.port == next(value for value in (on_line, in_environment, in_file, 1) if value is not None)
    # What the others do not mention stays.
    assert section.host == ("here" if in_file is None else "file")


def test_the_data_directory_is_absolute_and_data_by_default() -> None:
    assert load_sources(None, environ={}).data_dir == Path("data").absolute()
    assert load_sources(None, environ={"VMS_DATA_DIR": "/x"}).data_dir == Path("/x")
    override = {"data_dir": Path("/y")}
    assert load_sources(None, environ={"VMS_DATA_DIR": "/x"}, overrides=override).data_dir == Path("/y")


def test_other_variables_of_the_environment_are_left_alone() -> None:
    environ = {"HOME": "/root", "VMS_CONFIG": "x.yaml", "VMS_API_URL": "http://x", "VMS_CAMERA_PASSWORD": "p"}
    assert load_sources(None, environ=environ).values == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("apii: {port: 1}", "unknown key 'apii': did you mean 'api'?"),
        ("- a\n- b", "expected keys and values at the top"),
        ("api: [", "at line 1"),
        ("api: {port: 2026-13-45}", "not valid YAML"),
        ("api: !!timestamp x", "not valid YAML"),
        ("[" * 1500, "not valid YAML"),
        ("data_dir: 5", "'data_dir' must be a directory name"),
        ("data_dir: ''", "'data_dir' must be a directory name"),
        ("a: \x01", "not valid YAML"),
    ],
)
def test_a_malformed_file_is_one_line_that_names_the_file(tmp_path: Path, text: str, words: str) -> None:
    message = refusal(tmp_path, text)
    assert words in message
    assert "vms.yaml" in message


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("VMS_APPI__PORT", "did you mean 'api'?"),
        ("VMS_API", "needs a key: VMS_API__KEY"),
        ("VMS_", "is no setting"),
    ],
)
def test_a_variable_that_is_no_setting_is_named(tmp_path: Path, variable: str, words: str) -> None:
    message = refusal(tmp_path, **{variable: "1"})
    assert words in message
    assert variable in message


def test_a_variable_below_a_value_is_refused(tmp_path: Path) -> None:
    assert "'host' has no keys" in refusal(tmp_path, VMS_API__HOST="x", VMS_API__HOST__Y="z")
    assert "'data_dir' has no keys" in refusal(tmp_path, VMS_DATA_DIR="x", VMS_DATA_DIR__Y="z")


def test_a_file_that_is_missing_or_not_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(VmsError, match=r"none\.yaml cannot be read: No such file"):
        load_sources(tmp_path / "none.yaml", environ={})
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(VmsError, match="cannot be read: it is not UTF-8 text"):
        load_sources(tmp_path / "binary.yaml", environ={})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("api: {prot: 1}", "unknown key 'api.prot': did you mean 'port'?"),
        ("api: {port: many}", "'api.port': "),
        ("api: {nested: {a: b}}", "'api.nested.a': "),
        ("api: 5", "'api' must hold keys and values"),
    ],
)
def test_a_section_that_does_not_fit_names_the_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(VmsError) as caught:
        load(tmp_path, text).section("api", Example)
    assert words in caught.value.message
    assert "vms.yaml" in caught.value.message


def test_an_empty_section_is_all_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, "api:").section("api", Example) == Example()
    assert load(tmp_path, "").section("log", LogSettings) == LogSettings()


def test_the_bus_takes_its_port_from_the_environment_as_a_number() -> None:
    settings = load_sources(None, environ={"VMS_BUS__PORT": "0"})
    assert settings.section("bus", BusConnection).port == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*SECTIONS, "data_dir", "other"]), json_values))
def test_whatever_a_file_holds_the_only_error_is_the_documented_one(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
) -> None:
    import yaml

    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(yaml.safe_dump(content))
    refused = refusal_of(lambda: load_sources(file, environ={}).section("log", LogSettings), VmsError)
    if isinstance(refused, VmsError):
        assert refused.kind is ErrorKind.INVALID
    else:
        assert "other" not in content


@given(st.text(max_size=40))
def test_no_text_at_all_ends_in_another_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "text.yaml"
    file.write_text(text, encoding="utf-8", errors="replace")
    refused = refusal_of(lambda: load_sources(file, environ={}), VmsError)
    assert refused is None or "text.yaml" in str(refused)


def test_the_configuration_file_is_the_options_then_the_variables_then_the_directorys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert config_file_from({}, None) is None
    (tmp_path / "vms.yaml").touch()
    assert config_file_from({}, None) == Path("vms.yaml")
    assert config_file_from({"VMS_CONFIG": "b.yaml"}, None) == Path("b.yaml")
    assert config_file_from({"VMS_CONFIG": "b.yaml"}, Path("a.yaml")) == Path("a.yaml")


def test_a_new_data_directory_is_for_this_user_alone(tmp_path: Path) -> None:
    path = prepare_data_dir(tmp_path / "a" / "b")
    assert path.stat().st_mode & 0o777 == 0o700
    assert list(path.iterdir()) == []


def test_a_data_directory_that_cannot_be_written_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(VmsError, match="use --data-dir") as caught:
        prepare_data_dir(tmp_path / "file")
    assert caught.value.kind is ErrorKind.STORAGE
    if os.path.ismount("/proc"):
        with pytest.raises(VmsError, match="cannot be written"):
            prepare_data_dir(Path("/proc"))
