"""Requests of other services on the bus: the list of recordings, and one of them."""

from typing import Final

from vms.bus.subscription import BusMessage
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoParameters
from vms.proto.convert import decode, encode
from vms.proto.messages import GetRecordingRequest, ListRecordingsReply, ListRecordingsRequest, Recording
from vms.storage.playback import Playback
from vms.storage.repository import CatalogueRepository
from vms.storage.segments import SegmentFacts
from vms.web.paging import Cursor, decode_cursor, encode_cursor

_LIMIT: Final = 1000  # keeps a reply well below what a message may hold


class RecordingCommands:
    """Handlers of ``vms.command.storage.*``."""

    def __init__(self, repository: CatalogueRepository, playback: Playback) -> None:
        self._repository = repository
        self._playback = playback

    async def list(self, message: BusMessage) -> bytes:
        """A page of recordings. Raises VmsError for the caller."""
        request = decode(ListRecordingsRequest, message.payload)
        limit = min(max(request.limit, 1), _LIMIT)
        rows = await self._repository.page(
            request.camera_id,
            start_us=request.start_us,
            end_us=request.end_us,
            limit=limit + 1,
            after=decode_cursor(request.cursor) if request.cursor else None,
        )
        fresh = [await self._playback.fresh(row) for row in rows[:limit]]
        start_us = request.start_us
        # An open file was counted in whatever its row says; now its end is known.
        shown = tuple(recording_of(facts) for facts in fresh if start_us is None or facts.end_us > start_us)
        last = rows[limit - 1] if len(rows) > limit else None
        cursor = encode_cursor(Cursor(last.start_us, last.id)) if last else ""
        return encode(ListRecordingsReply(shown, cursor))

    async def get(self, message: BusMessage) -> bytes:
        """One recording. Raises VmsError(NOT_FOUND) for the caller."""
        request = decode(GetRecordingRequest, message.payload)
        facts = await self._repository.find(request.camera_id, request.recording_id)
        if facts is None:
            name = request.recording_id[:64]
            raise VmsError(ErrorKind.NOT_FOUND, f"camera {request.camera_id} has no recording {name}")
        return encode(recording_of(await self._playback.fresh(facts)))


def recording_of(facts: SegmentFacts) -> Recording:
    """A file as the bus describes it; the decoder's configuration is in the file itself."""
    return Recording(
        id=facts.id,
        camera_id=facts.camera_id,
        volume=facts.volume,
        path=facts.path,
        container=facts.container,
        parameters=VideoParameters(facts.codec, facts.width, facts.height, b"", facts.codec_string),
        start_us=facts.start_us,
        end_us=facts.end_us,
        size_bytes=facts.size_bytes,
        frames=facts.frames,
        fragments=facts.fragments,
        closed=facts.closed,
    )
