"""The streams and buckets of JetStream, declared in one place and ensured at every connection.

Ensuring costs one request when everything is there. A stream whose settings differ is updated; nothing is ever deleted.
"""

from collections.abc import Mapping
from typing import Any, Final

from vms.bus.jetstream import NANOSECONDS, api
from vms.bus.session import Session
from vms.bus.settings import BusSettings
from vms.common.errors import VmsError
from vms.proto import subjects

DAY_S: Final = 86_400
EVENTS_MAX_AGE_S: Final = 7 * DAY_S
RECORDING_MAX_AGE_S: Final = 7 * DAY_S
DEDUPE_WINDOW_S: Final = 120
STATUS_TTL_S: Final = 60
LEASE_TTL_S: Final = 10
_BUCKET_MAX_BYTES: Final = 64 << 20
# How long a bucket remembers that a key expired, so that watchers hear of it (nats-server 2.11 and newer).
_EXPIRY_MARKER_TTL_S: Final = 30


def declared(settings: BusSettings) -> tuple[dict[str, object], ...]:
    """Configuration of every stream, as JetStream's API takes it; a KV bucket is a stream too."""
    return (
        _stream(
            subjects.RECORDING_STREAM,
            subjects.RECORDING_ALL,
            max_age=RECORDING_MAX_AGE_S * NANOSECONDS,
            max_bytes=settings.recording_max_bytes,
            duplicate_window=DEDUPE_WINDOW_S * NANOSECONDS,
        ),
        _stream(
            subjects.EVENTS_STREAM,
            subjects.EVENTS_ALL,
            max_age=EVENTS_MAX_AGE_S * NANOSECONDS,
            max_bytes=settings.events_max_bytes,
            duplicate_window=DEDUPE_WINDOW_S * NANOSECONDS,
        ),
        # A fragment leaves the stream when storage has written it. When the stream is full the sender waits (discard
        # new): dropping the oldest would lose footage that nobody has read.
        _stream(
            subjects.FRAGMENTS_STREAM,
            subjects.FRAGMENTS_ALL,
            retention="workqueue",
            discard="new",
            max_bytes=settings.fragments_max_bytes,
            duplicate_window=DEDUPE_WINDOW_S * NANOSECONDS,
        ),
        _bucket(subjects.CAMERAS_BUCKET),
        _bucket(subjects.STATUS_BUCKET, ttl_s=STATUS_TTL_S),
        _bucket(subjects.LEASES_BUCKET, ttl_s=LEASE_TTL_S),
    )


def bucket_stream(bucket: str) -> str:
    """Name of the stream behind a KV bucket."""
    return f"KV_{bucket}"


async def ensure(session: Session, settings: BusSettings) -> None:
    """Create what is missing and update what differs. Raises VmsError when JetStream is off or refuses."""
    answer = await api(session, "STREAM.LIST", {})
    existing: dict[str, Mapping[str, Any]] = {
        info["config"]["name"]: info["config"] for info in answer.get("streams") or ()
    }
    failure: VmsError | None = None
    for config in declared(settings):
        name = str(config["name"])
        try:
            if name not in existing:
                await api(session, f"STREAM.CREATE.{name}", config)
            elif differs(config, existing[name]):
                await api(session, f"STREAM.UPDATE.{name}", {**existing[name], **config})
        except VmsError as error:
            # One stream that cannot be had must not keep the others from existing.
            failure = error
    if failure is not None:
        raise failure


def differs(wanted: Mapping[str, object], existing: Mapping[str, Any]) -> bool:
    """Whether a declared setting is not in force. JetStream omits settings that are false or zero."""
    return any(existing.get(key) != value and (value or existing.get(key)) for key, value in wanted.items())


def _stream(name: str, subject: str, **settings: object) -> dict[str, object]:
    return {
        "name": name,
        "subjects": [subject],
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "num_replicas": 1,
        **settings,
    }


def _bucket(bucket: str, *, ttl_s: int | None = None) -> dict[str, object]:
    config = _stream(
        bucket_stream(bucket),
        f"$KV.{bucket}.>",
        discard="new",
        max_msgs_per_subject=1,
        max_bytes=_BUCKET_MAX_BYTES,
        allow_direct=True,
        allow_rollup_hdrs=True,
        deny_delete=True,
    )
    if ttl_s is not None:
        config |= {
            "max_age": ttl_s * NANOSECONDS,
            # JetStream wants the window of duplicates within the age limit.
            "duplicate_window": ttl_s * NANOSECONDS,
            "allow_msg_ttl": True,
            "subject_delete_marker_ttl": _EXPIRY_MARKER_TTL_S * NANOSECONDS,
        }
    return config
