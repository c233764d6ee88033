"""HTTP routes of cameras."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from vms.api.cameras.schemas import (
    CameraCreate,
    CameraPage,
    CameraPatch,
    CameraTest,
    CameraTestResult,
    CameraView,
)
from vms.api.cameras.service import CameraService
from vms.web.problem import problem_responses

router: Final = APIRouter(prefix="/api/v1/cameras", tags=["cameras"], responses=problem_responses(422, 503))


def _service(request: Request) -> CameraService:
    service = request.app.state.cameras
    assert isinstance(service, CameraService)
    return service


Service = Annotated[CameraService, Depends(_service)]


@router.get("")
async def list_cameras(
    service: Service,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(max_length=200, description="next_cursor of the page before")] = None,
) -> CameraPage:
    """Cameras with their live state, oldest first."""
    return await service.list(limit=limit, cursor=cursor)


@router.post("", status_code=201, responses=problem_responses(409))
async def create_camera(body: CameraCreate, service: Service, response: Response) -> CameraView:
    """Add a camera; it is connected to and recorded at once."""
    view = await service.create(body)
    response.headers["Location"] = f"/api/v1/cameras/{view.id}"
    return view


@router.post("/test", responses=problem_responses(401, 502, 504))
async def probe_camera(body: CameraTest, service: Service) -> CameraTestResult:
    """Connect to a camera without adding it, and report what it offers."""
    return await service.test(body)


@router.get("/{camera_id}", responses=problem_responses(404))
async def get_camera(camera_id: str, service: Service) -> CameraView:
    """One camera with its live state."""
    return await service.get(camera_id)


@router.patch("/{camera_id}", responses=problem_responses(404))
async def patch_camera(camera_id: str, body: CameraPatch, service: Service) -> CameraView:
    """Change a camera; fields that are left out stay as they are."""
    return await service.patch(camera_id, body)


@router.delete("/{camera_id}", status_code=204, responses=problem_responses(404))
async def delete_camera(camera_id: str, service: Service) -> None:
    """Remove a camera. Its recordings stay until retention takes them."""
    await service.remove(camera_id)
