"""The messages on the bus as plain Python values; the .proto files describe each field and its unit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vms.common.camera import CameraInfo
from vms.common.errors import ErrorKind
from vms.common.stream import AccessUnit, Container, VideoCodec, VideoParameters
from vms.common.types import CameraId, StreamId


class GapCause(StrEnum):
    """Why time is not on disk: the causes of the gap ledger."""

    CAMERA_OFFLINE = "camera_offline"
    NETWORK = "network"
    AUTH = "auth"
    DISABLED = "disabled"
    SCHEDULE = "schedule"
    NO_MOTION = "no_motion"
    DISK_FULL = "disk_full"
    RECORDER_DOWN = "recorder_down"
    CLOCK_STEP = "clock_step"
    RETENTION = "retention"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    """How much attention an event asks for."""

    INFO = "info"
    WARNING = "warning"
    ALARM = "alarm"


class AnnouncementKind(StrEnum):
    """What a recording announcement says; the last token of its subject."""

    OPENED = "opened"
    PROGRESS = "progress"
    CLOSED = "closed"
    GAP = "gap"


@dataclass(frozen=True, slots=True)
class StreamUnit:
    """One access unit as it travels on the bus."""

    stream_id: StreamId
    codec: VideoCodec
    unit: AccessUnit


@dataclass(frozen=True, slots=True)
class GopRequest:
    """Ask for the frames since the last keyframe and, with a lease, for the live ones after them."""

    lease_s: float = 0.0


@dataclass(frozen=True, slots=True)
class GopHeader:
    """First reply to a GopRequest; ``count`` access units follow."""

    parameters: VideoParameters
    first_seq: int
    count: int


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """One media file as far as it is written."""

    volume: str
    path: str
    container: Container
    parameters: VideoParameters
    start_us: int
    end_us: int
    size_bytes: int
    frames: int
    fragments: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Wall time [start_us, end_us) of a camera that is not on disk."""

    camera_id: CameraId
    start_us: int
    end_us: int
    cause: GapCause
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RecordingAnnouncement:
    """What a recorder says of a file (``file`` is set) or of missing time (``kind`` is GAP and ``gap`` is set)."""

    camera_id: CameraId
    worker: str
    kind: AnnouncementKind
    file: RecordingFile | None = None
    gap: Gap | None = None


@dataclass(frozen=True, slots=True)
class FragmentUnit:
    """One row of the frame table of a fragment."""

    size: int
    pts_90k: int
    dts_90k: int
    capture_us: int
    flags: int


@dataclass(frozen=True, slots=True)
class FragmentPart:
    """A fragment on its way to a storage service, or a part of one."""

    camera_id: CameraId
    session_id: str
    fragment_seq: int
    part: int
    parts: int
    container: Container
    parameters: VideoParameters
    units: tuple[FragmentUnit, ...]
    wall_us: int
    duration_90k: int
    flags: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a camera or to the system."""

    id: str
    camera_id: CameraId
    kind: str
    at_us: int
    severity: Severity = Severity.INFO
    text: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """Every reply on the bus: ``payload`` when ``ok``, else why not."""

    ok: bool
    error_kind: ErrorKind | None = None
    message: str = ""
    context: Mapping[str, str] = field(default_factory=dict)
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class ListRecordingsRequest:
    """A page of the recordings of one camera that overlap [start_us, end_us)."""

    camera_id: CameraId
    start_us: int | None = None
    end_us: int | None = None
    limit: int = 100
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """One media file as the catalogue knows it."""

    id: str
    camera_id: CameraId
    volume: str
    path: str
    container: Container
    parameters: VideoParameters
    start_us: int
    end_us: int
    size_bytes: int
    frames: int
    fragments: int
    closed: bool
    protected: bool = False


@dataclass(frozen=True, slots=True)
class ListRecordingsReply:
    """A page; ``next_cursor`` is empty on the last one."""

    recordings: tuple[Recording, ...] = ()
    next_cursor: str = ""


@dataclass(frozen=True, slots=True)
class GetRecordingRequest:
    """One recording; the reply's payload is a Recording."""

    camera_id: CameraId
    recording_id: str


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Connect to a camera and say what it is; the password travels on the authenticated bus only."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class ProbeReply:
    """What the camera said."""

    info: CameraInfo
