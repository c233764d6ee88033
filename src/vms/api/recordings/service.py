"""Asks the storage service; the API keeps no catalogue of its own."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from vms.api.recordings.schemas import RecordingPage, RecordingView, recording_view
from vms.common.errors import ErrorKind, VmsError
from vms.common.timestamps import parse_us
from vms.common.types import CameraId, parse_camera_id
from vms.proto import subjects
from vms.proto.convert import decode, encode
from vms.proto.messages import GetRecordingRequest, ListRecordingsReply, ListRecordingsRequest, Recording

T = TypeVar("T")

Request = Callable[[str, bytes, float], Awaitable[bytes]]
"""``(subject, payload, timeout in seconds)`` → the payload of the reply; raises the VmsError that it carries."""


class RecordingService:
    """Lists and describes recordings."""

    def __init__(
        self, request: Request, *, camera_exists: Callable[[CameraId], Awaitable[bool]], timeout_s: float
    ) -> None:
        self._request = request
        self._camera_exists = camera_exists
        self._timeout_s = timeout_s

    async def list(
        self, camera_id: str, *, start: str | None, end: str | None, limit: int, cursor: str | None
    ) -> RecordingPage:
        """One page of what overlaps [start, end).

        Raises VmsError: INVALID, UNAVAILABLE when storage does not answer, NOT_FOUND when nobody knows the camera.
        """
        query = ListRecordingsRequest(
            camera_id=parse_camera_id(camera_id),
            start_us=None if start is None else parse_us(start),
            end_us=None if end is None else parse_us(end),
            limit=limit,
            cursor=cursor or "",
        )
        if query.start_us is not None and query.end_us is not None and query.start_us >= query.end_us:
            raise VmsError(ErrorKind.INVALID, "start must be before end")
        reply = await self._ask(subjects.LIST_RECORDINGS, query, ListRecordingsReply)
        # A camera that was removed is still found by its recordings.
        if not reply.recordings and not await self._camera_exists(query.camera_id):
            raise VmsError(ErrorKind.NOT_FOUND, f"no camera {camera_id}", camera_id=camera_id)
        return RecordingPage(
            items=[recording_view(recording) for recording in reply.recordings], next_cursor=reply.next_cursor or None
        )

    async def get(self, camera_id: str, recording_id: str) -> RecordingView:
        """One recording. Raises VmsError: INVALID, NOT_FOUND, UNAVAILABLE."""
        query = GetRecordingRequest(camera_id=parse_camera_id(camera_id), recording_id=recording_id)
        return recording_view(await self._ask(subjects.GET_RECORDING, query, Recording))

    async def _ask(self, name: str, query: object, reply_type: type[T]) -> T:
        try:
            data = await self._request(subjects.command(subjects.STORAGE, name), encode(query), self._timeout_s)
        except VmsError as error:
            if error.kind in {ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT}:
                message = f"the storage service cannot be asked ({error.message}): is it running? Retry in a moment"
                raise VmsError(ErrorKind.UNAVAILABLE, message) from None
            raise
        return decode(reply_type, data)
