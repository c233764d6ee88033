"""Structured logs: an event name and key=value pairs, to stderr, without secrets."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Protocol, cast

import structlog

from vms.common.settings import LogSettings

# Up to the last @ before a space: passwords are written with raw @, / and quotes in them, whatever RFC 3986 says. An @
# in the path costs the line a host name, which is better than half a password in it.
_URL_CREDENTIALS: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)\S+@", re.IGNORECASE)
# Cameras of some makers take credentials in the path or query: /user=admin&password=secret&channel=1
_QUERY_SECRET: Final = re.compile(r"(?P<key>\b(?:password|passwd|pwd|pass|token|secret)=)[^&\s'\"]+", re.IGNORECASE)
_SECRET_KEYS: Final = frozenset({"password", "token", "secret", "authorization", "cookie", "credentials"})


class Logger(Protocol):
    """What the rest of the system sees of the logging library."""

    def bind(self, **context: object) -> "Logger":
        """A logger that adds ``context`` to every line."""
        ...

    def debug(self, event: str, **context: object) -> None:
        """Log for developers."""
        ...

    def info(self, event: str, **context: object) -> None:
        """Log a state change."""
        ...

    def warning(self, event: str, **context: object) -> None:
        """Log what someone should look at."""
        ...

    def error(self, event: str, **context: object) -> None:
        """Log what does not work."""
        ...


def configure_logging(settings: LogSettings, *, service: str) -> None:
    """Set up logging of this process once, from ``main``."""
    level = getattr(logging, settings.level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _service_adder(service),
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)
    )
    structlog.configure(
        # Tracebacks are text before the redaction: the message of an exception may quote a URL.
        processors=[*shared, structlog.processors.format_exc_info, redact, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=max(level, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )


def get_logger(name: str) -> Logger:
    """A logger for one module or object."""
    return cast("Logger", structlog.get_logger(component=name))


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Processor: no credential leaves in a log line, wherever it hides in the values."""
    for key, value in event.items():
        event[key] = "***" if key.lower() in _SECRET_KEYS else _redact_value(value)
    return event


def redact_text(text: str) -> str:
    """Text with ``user:password@`` and ``password=…`` of every URL replaced."""
    if "@" in text:
        text = _URL_CREDENTIALS.sub(r"\g<scheme>***@", text)
    if "=" in text:
        text = _QUERY_SECRET.sub(r"\g<key>***", text)
    return text


def _redact_value(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {k: "***" if str(k).lower() in _SECRET_KEYS else _redact_value(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact_value(item) for item in value]
    return redact_text(str(value))


def _service_adder(service: str) -> Any:  # noqa: ANN401 - structlog's processor type
    def add(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return add
