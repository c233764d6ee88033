"""A camera as configured, and as it is doing."""

from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer, field_validator

from vms.common.stream import Container
from vms.common.types import CameraId


class CameraState(StrEnum):
    """What a camera session is doing."""

    CONNECTING = "connecting"
    ONLINE = "online"
    DEGRADED = "degraded"  # frames arrive, but not as they should: loss, stalls, disk behind
    OFFLINE = "offline"
    AUTH_FAILED = "auth_failed"
    DISABLED = "disabled"


class Sink(StrEnum):
    """Where the recorder puts fragments: its own disk, or the bus for a storage service to write."""

    DISK = "disk"
    BUS = "bus"


class CameraConfig(BaseModel):
    """Desired state of one camera, as projected into KV. Unknown keys are kept for newer versions."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: CameraId
    name: Annotated[str, Field(min_length=1, max_length=200)]
    url: Annotated[str, Field(max_length=2048)]
    username: str = ""
    password: SecretStr = SecretStr("")
    enabled: bool = True
    record: bool = True
    container: Container = Container.MP4
    sink: Sink = Sink.DISK
    retention_days: Annotated[float, Field(gt=0, le=36500)] = 30
    volume: str = "main"

    @field_validator("url")
    @classmethod
    def _rtsp_url(cls, value: str) -> str:
        return check_camera_url(value)

    @field_serializer("password", when_used="json")
    def _reveal(self, value: SecretStr) -> str:
        # KV and the local copy must hold the real password; no reply or log is made from this model.
        return value.get_secret_value()


class CameraStatus(BaseModel):
    """Live state of one camera session, published to KV."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    camera_id: CameraId
    state: CameraState
    since_us: int
    last_error: str | None = None
    last_error_kind: str | None = None
    next_try_us: int | None = None
    last_frame_us: int | None = None
    recording: bool = False
    codec: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float = 0.0
    bitrate_bps: float = 0.0
    frames_total: int = 0
    bytes_total: int = 0
    lost_packets_total: int = 0
    reconnects_total: int = 0
    gaps_total: int = 0
    clock_offset_us: int | None = None  # camera clock minus host clock, from RTCP sender reports
    worker: str = ""
    updated_us: int = 0


class CameraInfo(BaseModel):
    """What a camera says of itself: the result of ``vms camera test`` and of the probe command."""

    model_config = ConfigDict(frozen=True)

    url: str  # without credentials
    server: str | None = None
    codec: str
    codec_string: str
    width: int
    height: int
    fps: float | None = None
    kind: Literal["rtsp"] = "rtsp"


def check_camera_url(value: str) -> str:
    """Return the URL if a camera can be reached by it; raises ValueError with what to write instead."""
    try:
        parts = urlsplit(value)
        port_ok = parts.port is None or 0 < parts.port < 65536
    except ValueError:
        # The parser's own words quote the part before the host, and with it the password.
        raise ValueError(
            "host or port is malformed: write rtsp://192.0.2.10:554/stream1, and / ? # of a password as %2F %3F %23"
        ) from None
    if parts.scheme != "rtsp":
        raise ValueError("the URL must start with rtsp://, such as rtsp://192.0.2.10:554/stream1")
    if not parts.hostname or not port_ok:
        raise ValueError("the URL needs a host, such as rtsp://192.0.2.10:554/stream1")
    if any(ord(c) <= 32 or ord(c) == 127 for c in value):
        raise ValueError("the URL holds a space or control character")
    return value
