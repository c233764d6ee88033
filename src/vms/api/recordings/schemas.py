"""What clients get for recordings."""

from pydantic import BaseModel, Field

from vms.common.stream import Container, VideoCodec
from vms.common.timestamps import format_us
from vms.proto.messages import Recording


class RecordingView(BaseModel):
    """One media file. Times are RFC 3339 in UTC; the file covers [start, end)."""

    id: str
    camera_id: str
    start: str
    end: str
    duration_s: float
    container: Container
    codec: VideoCodec
    codec_string: str = Field(description="RFC 6381")
    width: int
    height: int
    bytes: int
    frames: int
    closed: bool = Field(description="false while the recorder appends to it")
    volume: str
    path: str = Field(description="relative to the volume")


class RecordingPage(BaseModel):
    """A page of recordings, oldest first."""

    items: list[RecordingView]
    next_cursor: str | None = Field(description="pass it as `cursor` for the next page; null: no more")


def recording_view(recording: Recording) -> RecordingView:
    """A recording as clients see it."""
    return RecordingView(
        id=recording.id,
        camera_id=recording.camera_id,
        start=format_us(recording.start_us),
        end=format_us(recording.end_us),
        duration_s=(recording.end_us - recording.start_us) / 1e6,
        container=recording.container,
        codec=recording.parameters.codec,
        codec_string=recording.parameters.codec_string,
        width=recording.parameters.width,
        height=recording.parameters.height,
        bytes=recording.size_bytes,
        frames=recording.frames,
        closed=recording.closed,
        volume=recording.volume,
        path=recording.path,
    )
