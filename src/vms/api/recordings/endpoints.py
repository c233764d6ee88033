"""HTTP routes of recordings."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query, Request

from vms.api.recordings.schemas import RecordingPage, RecordingView
from vms.api.recordings.service import RecordingService
from vms.web.problem import problem_responses

router: Final = APIRouter(prefix="/api/v1/recordings", tags=["recordings"], responses=problem_responses(404, 422, 503))


def _service(request: Request) -> RecordingService:
    service = request.app.state.recordings
    assert isinstance(service, RecordingService)
    return service


Service = Annotated[RecordingService, Depends(_service)]
Moment = Annotated[str | None, Query(max_length=64, description="RFC 3339, such as 2026-03-01T10:00:00Z")]


@router.get("/{camera_id}")
async def list_recordings(
    camera_id: str,
    service: Service,
    start: Moment = None,
    end: Moment = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=200, description="next_cursor of the page before")] = None,
) -> RecordingPage:
    """Recordings of a camera that overlap [start, end), oldest first; the one being written is included."""
    return await service.list(camera_id, start=start, end=end, limit=limit, cursor=cursor)


@router.get("/{camera_id}/{recording_id}")
async def get_recording(
    camera_id: str, recording_id: Annotated[str, Path(max_length=64)], service: Service
) -> RecordingView:
    """One recording."""
    return await service.get(camera_id, recording_id)
