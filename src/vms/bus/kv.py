"""Key-value buckets: values with revisions, and a watch that stays true across reconnections."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vms.bus import jetstream
from vms.bus.jetstream import API_TIMEOUT_S, EXPECTED_LAST, NANOSECONDS, api
from vms.bus.link import Link
from vms.bus.mailbox import Incoming
from vms.bus.session import Session
from vms.bus.topology import bucket_stream
from vms.common.errors import ErrorKind, VmsError
from vms.proto.subjects import token

_OPERATION: Final = "KV-Operation"
_MARKER: Final = "Nats-Marker-Reason"  # set by the server when a key expired
_HEARTBEAT_S: Final = 2.0
_WATCH_LIMIT: Final = 65_536
_RETRY_S: Final = 0.5


class KvOperation(StrEnum):
    """What a watch reports."""

    PUT = "put"
    DELETE = "delete"  # deleted or expired
    SNAPSHOT_END = "snapshot_end"  # everything that was there when the watch (re)started has been reported


@dataclass(frozen=True, slots=True)
class KvEntry:
    """The value of a key; ``revision`` grows with every change in the bucket."""

    key: str
    value: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class KvChange:
    """One report of a watch; ``key`` and ``value`` are empty where they mean nothing."""

    operation: KvOperation
    key: str = ""
    value: bytes = b""
    revision: int = 0


class KvBucket:
    """One bucket. Every method raises VmsError(UNAVAILABLE | TIMEOUT) when the bus is away, INVALID for a bad key."""

    def __init__(self, link: Link, bucket: str) -> None:
        self._link = link
        self._stream = bucket_stream(bucket)
        self._prefix = f"$KV.{bucket}."

    async def get(self, key: str) -> KvEntry | None:
        """The value, or None when there is none."""
        incoming = await self._last(key)
        if incoming is None or _is_deletion(incoming):
            return None
        return KvEntry(key, incoming.data, _revision(incoming))

    async def put(self, key: str, value: bytes) -> int:
        """Set a value, whatever is there; returns the revision."""
        return await self._store(key, value, {})

    async def create(self, key: str, value: bytes) -> int:
        """Set a value where there is none; returns the revision. Raises VmsError(CONFLICT) when there is one."""
        try:
            return await self.update(key, value, 0)
        except VmsError as error:
            if error.kind is not ErrorKind.CONFLICT:
                raise
        # A deleted key leaves a mark behind, whose revision has to be named.
        last = await self._last(key)
        if last is not None and not _is_deletion(last):
            raise VmsError(ErrorKind.CONFLICT, f"{key} exists already", key=key)
        return await self.update(key, value, 0 if last is None else _revision(last))

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Set a value if the key is still at ``revision``; returns the new one. Raises VmsError(CONFLICT)."""
        return await self._store(key, value, {EXPECTED_LAST: str(revision)})

    async def delete(self, key: str, *, revision: int | None = None) -> None:
        """Delete a value, if given only at that revision (VmsError(CONFLICT)). A missing key is no error."""
        headers = {_OPERATION: "DEL"}
        if revision is not None:
            headers[EXPECTED_LAST] = str(revision)
        await self._store(key, b"", headers)

    async def keys(self) -> list[str]:
        """The keys that have a value, sorted."""
        return sorted([change.key async for change in self._snapshot(headers_only=True)])

    async def entries(self) -> dict[str, KvEntry]:
        """Every key with its value, in one go."""
        return {
            change.key: KvEntry(change.key, change.value, change.revision)
            async for change in self._snapshot(headers_only=False)
        }

    async def watch(self) -> AsyncGenerator[KvChange]:
        """Every key with its value, SNAPSHOT_END, then changes as they come; for ever.

        Keys that somebody deleted are reported as DELETE with a revision, also before SNAPSHOT_END: whoever kept a copy
        of the bucket learns that they are really gone. After a reconnection it starts again in the same way; keys that
        are not there any more, and that nobody is known to have deleted, come as DELETE without a revision (0): the
        server may have lost its data. Close it (``contextlib.aclosing``) when leaving the loop early.
        """
        known: set[str] = set()
        while True:
            session = await self._link.wait()
            seen: set[str] = set()
            in_snapshot = True
            try:
                async for change in self._watch_once(session):
                    if change.operation is KvOperation.PUT:
                        known.add(change.key)
                        seen.add(change.key)
                    elif change.operation is KvOperation.DELETE:
                        known.discard(change.key)
                    elif in_snapshot:
                        in_snapshot = False
                        for key in sorted(known - seen):
                            yield KvChange(KvOperation.DELETE, key)
                        known &= seen
                        seen.clear()
                    yield change
            except VmsError as error:
                if self._link.session is session:
                    self._link.report("bus_watch_interrupted", stream=self._stream, error=error.message)
                    await asyncio.sleep(_RETRY_S)

    async def _snapshot(self, *, headers_only: bool) -> AsyncIterator[KvChange]:
        async with contextlib.aclosing(self._watch_once(self._link.require(), headers_only=headers_only)) as changes:
            async for change in changes:
                if change.operation is KvOperation.SNAPSHOT_END:
                    return
                if change.operation is KvOperation.PUT:
                    yield change

    async def _watch_once(self, session: Session, *, headers_only: bool = False) -> AsyncGenerator[KvChange]:
        """The snapshot, its end, and changes, until the session or the consumer ends with a VmsError."""
        async with session.open_mailbox(limit=_WATCH_LIMIT) as (inbox, mailbox):
            config: dict[str, object] = {
                "deliver_subject": inbox,
                "deliver_policy": "last_per_subject",
                "ack_policy": "none",
                "max_deliver": 1,
                "filter_subject": f"{self._prefix}>",
                "replay_policy": "instant",
                "mem_storage": True,
                "num_replicas": 1,
                "idle_heartbeat": round(_HEARTBEAT_S * NANOSECONDS),
                "inactive_threshold": 10 * NANOSECONDS,
                "headers_only": headers_only,
            }
            info = await api(
                session, f"CONSUMER.CREATE.{self._stream}", {"stream_name": self._stream, "config": config}
            )
            delivered = int(info.get("delivered", {}).get("consumer_seq", 0))
            in_snapshot = True
            if not info.get("num_pending", 0) and not delivered:
                in_snapshot = False
                yield KvChange(KvOperation.SNAPSHOT_END)
            count = 0
            while True:
                # Silence longer than some heartbeats: the consumer is gone, though the connection is not.
                incoming = await mailbox.get(3 * _HEARTBEAT_S)
                if incoming.status:
                    # The server is idle: what was pending at the start has expired before it could be sent.
                    if in_snapshot:
                        in_snapshot = False
                        yield KvChange(KvOperation.SNAPSHOT_END)
                    continue
                count += 1
                if jetstream.consumer_sequence(incoming) != count:
                    raise VmsError(ErrorKind.UNAVAILABLE, "a change was missed")
                yield self._change(incoming)
                if in_snapshot and jetstream.pending(incoming) == 0:
                    in_snapshot = False
                    yield KvChange(KvOperation.SNAPSHOT_END)

    def _change(self, incoming: Incoming) -> KvChange:
        key = incoming.subject.removeprefix(self._prefix)
        operation = KvOperation.DELETE if _is_deletion(incoming) else KvOperation.PUT
        return KvChange(operation, key, incoming.data, jetstream.stream_sequence(incoming))

    async def _last(self, key: str) -> Incoming | None:
        subject = f"$JS.API.DIRECT.GET.{self._stream}.{self._prefix}{token(key)}"
        incoming = await self._link.require().request(subject, b"", timeout_s=API_TIMEOUT_S)
        if incoming.status == "404":
            return None
        if incoming.status:
            raise VmsError(ErrorKind.UNAVAILABLE, f"the bucket refuses: {incoming.headers.get('Description', '')}")
        return incoming

    async def _store(self, key: str, value: bytes, headers: dict[str, str]) -> int:
        session = self._link.require()
        return await jetstream.publish(
            session, f"{self._prefix}{token(key)}", value, timeout_s=API_TIMEOUT_S, headers=headers or None
        )


def _is_deletion(incoming: Incoming) -> bool:
    return incoming.headers.get(_OPERATION, "") in {"DEL", "PURGE"} or _MARKER in incoming.headers


def _revision(incoming: Incoming) -> int:
    return int(incoming.headers["Nats-Sequence"])
