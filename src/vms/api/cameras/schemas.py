"""What clients send and get for cameras. Types are strict: "yes" is no boolean and "7" no number."""

from typing import Annotated
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from vms.common.camera import CameraConfig, CameraState, Sink, check_camera_url
from vms.common.errors import VmsError
from vms.common.stream import Container
from vms.common.types import CameraId, parse_camera_id

Name = Annotated[str, Field(min_length=1, max_length=200, description="what people call the camera")]
Url = Annotated[str, Field(max_length=2048, description="rtsp://host[:port]/path; a user:password@ in it is split off")]
Username = Annotated[str, Field(max_length=256)]
Password = Annotated[SecretStr, Field(max_length=256)]
# Enumerations arrive as text, which strict validation would refuse.
ContainerField = Annotated[Container, Field(strict=False, description="file format of recordings")]
SinkField = Annotated[Sink, Field(strict=False, description="disk: the recorder writes; bus: the storage service")]
RetentionDays = Annotated[float, Field(gt=0, le=36500, allow_inf_nan=False)]
Volume = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class _Request(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class _WithSource(_Request):
    @field_validator("name", check_fields=False)
    @classmethod
    def _printable(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip() or any(ord(c) < 32 or ord(c) == 127 for c in value)):
            raise ValueError("needs a character that can be seen, and no control characters")
        return value

    @field_validator("url", check_fields=False)
    @classmethod
    def _camera_url(cls, value: str | None) -> str | None:
        return None if value is None else check_camera_url(value)


class CameraCreate(_WithSource):
    """A new camera."""

    id: str | None = Field(default=None, description="chosen by the client; made by the service when absent")
    name: Name
    url: Url
    username: Username = ""
    password: Password = SecretStr("")
    enabled: bool = True
    record: bool = True
    container: ContainerField = Container.MP4
    sink: SinkField = Sink.DISK
    retention_days: RetentionDays = 30
    volume: Volume = "main"

    @field_validator("id")
    @classmethod
    def _camera_id(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parse_camera_id(value)
            except VmsError as error:
                raise ValueError(error.message) from None
        return value


class CameraPatch(_WithSource):
    """Changes to a camera; what is absent stays as it is."""

    name: Name | None = None
    url: Url | None = None
    username: Username | None = None
    password: Password | None = None
    enabled: bool | None = None
    record: bool | None = None
    container: ContainerField | None = None
    sink: SinkField | None = None
    retention_days: RetentionDays | None = None
    volume: Volume | None = None

    @model_validator(mode="after")
    def _no_nulls(self) -> "CameraPatch":
        for field in self.model_fields_set:
            if getattr(self, field) is None:
                raise ValueError(f"{field}: null means nothing here; leave the field out to keep its value")
        return self


class CameraTest(_WithSource):
    """A camera to try out without adding it."""

    url: Url
    username: Username = ""
    password: Password = SecretStr("")


class CameraTestResult(BaseModel):
    """What the camera said of itself."""

    url: str
    server: str | None
    codec: str
    codec_string: str
    width: int
    height: int
    fps: float | None


class CameraStatusView(BaseModel):
    """What the camera is doing now. Times are RFC 3339 in UTC."""

    state: CameraState
    since: str | None = None
    last_error: str | None = None
    last_error_kind: str | None = None
    next_try: str | None = Field(default=None, description="when the next connection is tried")
    last_frame: str | None = None
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
    clock_offset_us: int | None = Field(default=None, description="camera clock minus host clock")
    worker: str | None = None


class CameraView(BaseModel):
    """A camera as clients see it: neither user name nor password ever leave."""

    id: CameraId
    name: str
    url: str
    has_credentials: bool
    enabled: bool
    record: bool
    container: Container
    sink: Sink
    retention_days: float
    volume: str
    created: str
    updated: str
    status: CameraStatusView


class CameraPage(BaseModel):
    """A page of cameras, oldest first."""

    items: list[CameraView]
    next_cursor: str | None = Field(description="pass it as `cursor` for the next page; null: no more")


def split_credentials(url: str) -> tuple[str, str | None, str | None]:
    """``(url without credentials, username, password)``; the latter are None when it has none (RFC 3986 §3.2.1)."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None, None
    username, _, password = userinfo.partition(":")
    bare = SplitResult(parts.scheme, host, parts.path, parts.query, parts.fragment).geturl()
    return bare, unquote(username), unquote(password)


def config_from(body: CameraCreate, camera_id: CameraId) -> CameraConfig:
    """The configuration that a request describes; explicit credentials win over those in the URL."""
    values = body.model_dump(exclude={"id"})
    url, username, password = split_credentials(body.url)
    values["url"] = url
    if username is not None and not body.username:
        values["username"] = username
        values["password"] = body.password if body.password.get_secret_value() else SecretStr(password or "")
    return CameraConfig(id=camera_id, **values)


def apply_patch(config: CameraConfig, patch: CameraPatch) -> CameraConfig:
    """The configuration after a patch. Credentials stay unless the patch, or the URL in it, holds others."""
    changes = patch.model_dump(exclude_unset=True)
    if patch.url is not None:
        changes["url"], username, password = split_credentials(patch.url)
        if username is not None:
            changes.setdefault("username", username)
            changes.setdefault("password", SecretStr(password or ""))
    return config.model_copy(update=changes)
