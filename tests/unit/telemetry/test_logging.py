import json
import logging
from collections.abc import Callable, Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from tests.support.errors import refusal_of

from vms.common.errors import ErrorKind, VmsError
from vms.common.settings import LogSettings
from vms.telemetry.logging import configure_logging, get_logger, redact, redact_text

SECRET = "s3cr3t"


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Reads what went to stderr; logging is set up afresh before and after."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    yield lambda: capsys.readouterr().err
    structlog.reset_defaults()


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_json_line_holds_event_values_and_where_it_comes_from(stderr: Callable[[], str]) -> None:
    configure_logging(LogSettings(format="json"), service="ingest")
    get_logger("camera").bind(camera_id="cam1").info("online", frames=3)
    (line,) = lines(stderr())
    timestamp = line.pop("timestamp")
    assert isinstance(timestamp, str)
    assert timestamp.endswith("Z")
    assert line == {
        "event": "online",
        "level": "info",
        "service": "ingest",
        "component": "camera",
        "camera_id": "cam1",
        "frames": 3,
    }


def test_lines_below_the_level_are_not_written(stderr: Callable[[], str]) -> None:
    configure_logging(LogSettings(format="json", level="warning"), service="x")
    log = get_logger("x")
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert [line["event"] for line in lines(stderr())] == ["c", "d"]


def test_the_console_form_is_one_line_for_people(stderr: Callable[[], str]) -> None:
    configure_logging(LogSettings(), service="x")
    get_logger("y").warning("disk full", volume="main")
    text = stderr()
    assert text.count("\n") == 1
    assert "disk full" in text
    assert "volume=main" in text


def test_other_libraries_speak_from_warning_on(stderr: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's own came after the fixture's
    configure_logging(LogSettings(level="debug"), service="x")
    logging.getLogger("library").info("chatter")
    logging.getLogger("library").warning("trouble")
    assert stderr() == "WARNING library trouble\n"


def failing_with_a_url() -> None:
    url = f"rtsp://admin:{SECRET}@192.0.2.1/x"
    raise ValueError("cannot open " + url)


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_does_not_quote_the_password_of_a_url(form: str, stderr: Callable[[], str]) -> None:
    configure_logging(LogSettings.model_validate({"format": form}), service="x")
    error = refusal_of(failing_with_a_url, ValueError)
    get_logger("x").error("session failed", error=repr(error), exc_info=error)
    text = stderr()
    assert "Traceback (most recent call last)" in text
    assert "in failing_with_a_url" in text
    assert "192.0.2.1" in text
    assert SECRET not in text


url_text = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), max_size=12)


@given(
    st.sampled_from(["rtsp", "RTSP", "http", "nats", "postgresql+asyncpg"]),
    url_text,
    url_text,
    st.sampled_from(["", "/", "/a/b?x=1", ":554/x"]),
    url_text,
)
def test_no_password_of_any_url_survives_wherever_it_stands(
    scheme: str, user: str, rest: str, path: str, around: str
) -> None:
    password = f"{rest}{SECRET}{rest}"
    text = f"{around} {scheme}://{user}:{password}@host.example{path} {around}"
    shown = redact_text(text)
    assert SECRET not in shown
    assert f"{scheme}://***@host.example" in shown
    event = redact(None, "info", {"event": text, "list": [text], "map": {"a": (text,)}, "error": ValueError(text)})
    assert SECRET not in repr(event)


@given(st.sampled_from(["password", "pwd", "passwd", "pass", "token", "PASSWORD"]), st.sampled_from("?&/;"))
def test_no_password_in_a_query_survives(key: str, separator: str) -> None:
    shown = redact_text(f"rtsp://192.0.2.1:554/{separator}user=admin&{key}={SECRET}&channel=1")
    assert SECRET not in shown
    assert "channel=1" in shown


@given(st.sampled_from(["password", "Token", "secret", "Authorization", "cookie", "credentials"]))
def test_values_that_are_secret_by_name_never_show(key: str) -> None:
    event = redact(None, "info", {"event": "x", key: SECRET, "inside": {key: SECRET}})
    assert SECRET not in repr(event)


def test_values_without_secrets_stay_as_they_are() -> None:
    values = {"event": "a@b is no url", "n": 1, "f": 0.5, "b": True, "none": None, "url": "rtsp://host/x"}
    assert redact(None, "info", dict(values)) == values


def test_secrets_and_errors_are_shown_as_text() -> None:
    event = redact(None, "info", {"s": SecretStr(SECRET), "e": VmsError(ErrorKind.AUTH, "refused")})
    assert event == {"s": "**********", "e": "refused"}
