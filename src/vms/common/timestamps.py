"""Text forms of wall time: RFC 3339 in and out, always UTC."""

from datetime import UTC, datetime, timedelta

from vms.common.errors import ErrorKind, VmsError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def format_us(wall_us: int) -> str:
    """RFC 3339 in UTC with microseconds, e.g. ``2026-03-01T10:00:00.000000Z``."""
    return datetime_from_us(wall_us).isoformat(timespec="microseconds").replace("+00:00", "Z")


def datetime_from_us(wall_us: int) -> datetime:
    """Aware datetime in UTC; exact to the microsecond."""
    return _EPOCH + timedelta(microseconds=wall_us)


def parse_us(text: str) -> int:
    """Microseconds since the epoch from RFC 3339 text (a missing zone means UTC) or from epoch seconds.

    Raises VmsError(INVALID) with the offending text.
    """
    try:
        wall_us = _wall_us(text)
        datetime_from_us(wall_us)  # what cannot be shown is no time either
    except (ValueError, OverflowError):
        shown = text[:80]
        raise VmsError(
            ErrorKind.INVALID, f"'{shown}' is not a time: use RFC 3339, such as 2026-03-01T10:00:00Z", text=shown
        ) from None
    return wall_us


def _wall_us(text: str) -> int:
    try:
        seconds = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1)
    return round(seconds * 1e6)
