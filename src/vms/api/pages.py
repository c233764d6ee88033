"""The built-in pages: cameras at ``/``, the API's description at ``/docs``. Nothing in them comes from elsewhere."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from vms.common.errors import ErrorKind, VmsError

_STATIC: Final = Path(__file__).parent / "static"
_MEDIA_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

router: Final = APIRouter(include_in_schema=False)


def install_pages(app: FastAPI) -> None:
    """Read the files once, so that a page does not depend on the disk, and add the routes."""
    app.state.pages = {path.name: path.read_bytes() for path in _STATIC.iterdir() if path.suffix in _MEDIA_TYPES}
    app.include_router(router)


def storage_url(request: Request) -> str:
    """Where the browser that sent this request reaches the storage service."""
    settings = request.app.state.settings
    if settings.storage_url is not None:
        return str(settings.storage_url).rstrip("/")
    host = request.url.hostname or "localhost"
    name = f"[{host}]" if ":" in host else host
    return f"{request.url.scheme}://{name}:{settings.storage_port}"


@router.get("/")
async def cameras_page(request: Request) -> Response:
    """The list of cameras, a form to add one, and a player."""
    return _page(request, "index.html")


@router.get("/docs")
async def docs_page(request: Request) -> Response:
    """The API's description."""
    return _page(request, "docs.html")


@router.get("/redoc")
async def redoc() -> Response:
    """Where people look for it, too."""
    return RedirectResponse("/docs")


@router.get("/static/{name}")
async def static_file(name: str, request: Request) -> Response:
    """Style sheets and scripts of the pages."""
    pages: dict[str, bytes] = request.app.state.pages
    if name not in pages or name.endswith(".html"):
        raise VmsError(ErrorKind.NOT_FOUND, "no such file")
    return _reply(pages, name)


def _page(request: Request, name: str) -> Response:
    response = _reply(request.app.state.pages, name)
    storage = storage_url(request)
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
        f"connect-src 'self' {storage}; media-src {storage} blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return response


def _reply(pages: dict[str, bytes], name: str) -> Response:
    media_type = _MEDIA_TYPES[Path(name).suffix]
    # Not cached: after an upgrade, an old script would meet a new API.
    return Response(pages[name], media_type=media_type, headers={"Cache-Control": "no-cache"})
