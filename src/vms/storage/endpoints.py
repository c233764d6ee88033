"""HTTP routes of the storage service."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container, VideoCodec
from vms.common.timestamps import format_us, parse_us
from vms.common.types import parse_camera_id
from vms.storage.config import StorageSettings
from vms.storage.playback import Playback
from vms.storage.repository import CatalogueRepository
from vms.storage.segments import Span, checked_span
from vms.telemetry.metrics import CONTENT_TYPE
from vms.web.health import Health, health_response
from vms.web.problem import problem_responses
from vms.web.streaming import ranged_response

router: Final = APIRouter(tags=["recordings"], responses=problem_responses(404, 422, 503))
service_router: Final = APIRouter(tags=["service"])

_FRAGMENTS: Final = re.compile(r"^(\d{1,9})-(\d{1,9})\.m4s$", re.ASCII)
_PLAYLIST_TYPE: Final = "application/vnd.apple.mpegurl"
_LIST_LIMIT_S: Final = 32 * 86_400

Moment = Annotated[str, Query(max_length=64, description="RFC 3339, such as 2026-03-01T10:00:00Z")]
SegmentId = Annotated[str, Path(max_length=64)]


def _playback(request: Request) -> Playback:
    playback = request.app.state.playback
    assert isinstance(playback, Playback)
    return playback


Player = Annotated[Playback, Depends(_playback)]


class SegmentView(BaseModel):
    """One media file that overlaps the span."""

    id: str
    start: str
    end: str
    container: Container
    codec: VideoCodec
    codec_string: str
    width: int
    height: int
    bytes: int
    frames: int
    closed: bool
    media_url: str


class GapView(BaseModel):
    """Time that is not recorded, and why."""

    start: str
    end: str
    cause: str
    detail: str


class SpanView(BaseModel):
    """What is recorded of a camera in a span, and what is not."""

    recordings: list[SegmentView]
    gaps: list[GapView]


@router.get("/recordings/{camera_id}")
async def list_span(camera_id: str, start: Moment, end: Moment, request: Request, player: Player) -> SpanView:
    """Recordings and gaps of a camera that overlap [start, end), oldest first."""
    camera = parse_camera_id(camera_id)
    span = _span(start, end, limit_s=_LIST_LIMIT_S, what="list")
    repository: CatalogueRepository = request.app.state.repository
    recordings = [
        SegmentView(
            id=facts.id,
            start=format_us(facts.start_us),
            end=format_us(facts.end_us),
            container=facts.container,
            codec=facts.codec,
            codec_string=facts.codec_string,
            width=facts.width,
            height=facts.height,
            bytes=facts.size_bytes,
            frames=facts.frames,
            closed=facts.closed,
            media_url=f"/recordings/{camera}/media/{facts.id}.{facts.container}",
        )
        for facts in await player.recordings(camera, span)
    ]
    gaps = [
        GapView(start=format_us(gap.start_us), end=format_us(gap.end_us), cause=gap.cause, detail=gap.detail)
        for gap in await repository.gaps(camera, span)
    ]
    return SpanView(recordings=recordings, gaps=gaps)


@router.api_route("/recordings/{camera_id}/playlist.m3u8", methods=["GET", "HEAD"], response_class=Response)
async def playlist(camera_id: str, start: Moment, end: Moment, request: Request, player: Player) -> Response:
    """HLS playlist (VOD) of [start, end), from the keyframe at or before the start; the open hour is included."""
    settings: StorageSettings = request.app.state.settings
    span = _span(start, end, limit_s=settings.max_playlist_s, what="playlist")
    text = await player.playlist(parse_camera_id(camera_id), span)
    return Response(text, media_type=_PLAYLIST_TYPE, headers={"Cache-Control": "no-cache"})


@router.api_route("/recordings/{camera_id}/clip.mp4", methods=["GET", "HEAD"], response_class=Response)
async def clip(camera_id: str, start: Moment, end: Moment, request: Request, player: Player) -> Response:
    """[start, end) as one MP4 without re-encoding, from the keyframe at or before the start."""
    settings: StorageSettings = request.app.state.settings
    span = _span(start, end, limit_s=settings.max_clip_s, what="clip")
    found = await player.clip(parse_camera_id(camera_id), span)
    return ranged_response(found, method=request.method, headers=request.headers)


@router.api_route("/recordings/{camera_id}/media/{name}", methods=["GET", "HEAD"], response_class=Response)
async def media(camera_id: str, name: SegmentId, request: Request, player: Player) -> Response:
    """A media file, ``{id}.mp4`` or ``{id}.mkv``, whole or by byte range; of one that grows, its whole fragments."""
    segment_id, _, suffix = name.rpartition(".")
    if suffix not in set(Container):
        raise VmsError(ErrorKind.NOT_FOUND, "a media file is {id}.mp4 or {id}.mkv")
    found = await player.media(parse_camera_id(camera_id), segment_id, Container(suffix))
    return ranged_response(found, method=request.method, headers=request.headers)


@router.api_route("/recordings/{camera_id}/media/{segment_id}/{name}", methods=["GET", "HEAD"], response_class=Response)
async def remuxed(
    camera_id: str, segment_id: SegmentId, name: Annotated[str, Path(max_length=32)], player: Player
) -> Response:
    """``init.mp4`` and ``{first}-{count}.m4s`` of a recording in any container, remuxed to fMP4 by fragment."""
    camera = parse_camera_id(camera_id)
    if name == "init.mp4":
        data, media_type = await player.init_segment(camera, segment_id), "video/mp4"
    else:
        numbers = _FRAGMENTS.match(name)
        if numbers is None:
            raise VmsError(ErrorKind.NOT_FOUND, "ask for init.mp4 or {first}-{count}.m4s")
        data = await player.fragments(camera, segment_id, int(numbers[1]), int(numbers[2]))
        media_type = "video/iso.segment"
    return Response(data, media_type=media_type, headers={"Cache-Control": "private, max-age=3600"})


@service_router.get("/health", response_model=Health)
async def health(request: Request) -> Response:
    """Whether the service works. Without the bus it plays what is catalogued, and catalogues the rest later."""
    vital, other = await request.app.state.checks()
    return health_response("storage", vital=vital, other=other)


@service_router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Metrics in the text format of Prometheus."""
    text = await request.app.state.metrics()
    return Response(text, media_type=CONTENT_TYPE)


def _span(start: str, end: str, *, limit_s: float, what: str) -> Span:
    return checked_span(parse_us(start), parse_us(end), limit_s=limit_s, what=what)
