"""Structured logs: an event name and key=value pairs, to stderr, without secrets."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Protocol, cast

import structlog

from vms.common.settings import LogSettings

_URL_CREDENTIALS: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/\s@'\"]+@", re.IGNORECASE)
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
        redact,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)
    )
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
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
        if key.lower() in _SECRET_KEYS:
            event[key] = "***"
        elif isinstance(value, str) and "@" in value:
            event[key] = redact_text(value)
    return event


def redact_text(text: str) -> str:
    """Text with ``user:password@`` of every URL replaced."""
    return _URL_CREDENTIALS.sub(r"\g<scheme>***@", text)


def _service_adder(service: str) -> Any:  # noqa: ANN401 - structlog's processor type
    def add(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return add
