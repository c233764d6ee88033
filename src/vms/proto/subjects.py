"""Every subject, stream, bucket and service name on the bus. No other module spells one."""

import re
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.common.types import CameraId, StreamId
from vms.proto.messages import AnnouncementKind

RECORDING_STREAM: Final = "VMS_RECORDING"
RECORDING_ALL: Final = "vms.recording.>"
EVENTS_STREAM: Final = "VMS_EVENTS"
EVENTS_ALL: Final = "vms.events.>"
FRAGMENTS_STREAM: Final = "VMS_FRAGMENTS"
FRAGMENTS_ALL: Final = "vms.fragment.>"

CAMERAS_BUCKET: Final = "vms_cameras"  # CameraConfig by camera id: desired state
STATUS_BUCKET: Final = "vms_status"  # CameraStatus by camera id: live state
LEASES_BUCKET: Final = "vms_leases"  # worker id by camera id

INGEST: Final = "ingest"
STORAGE: Final = "storage"
PROBE: Final = "probe"
LIST_RECORDINGS: Final = "list_recordings"
GET_RECORDING: Final = "get_recording"

# One token of a subject, and at the same time one key of a KV bucket: no dot, wildcard or space.
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")


def media_au(stream_id: StreamId) -> str:
    """Live access units of a stream, published while someone holds a lease."""
    return f"vms.media.{token(stream_id)}.au"


def media_gop(stream_id: StreamId) -> str:
    """Request for the codec parameters and the frames since the last keyframe."""
    return f"vms.media.{token(stream_id)}.gop"


def recording(camera_id: CameraId, kind: AnnouncementKind) -> str:
    """Announcements of a recorder."""
    return f"vms.recording.{token(camera_id)}.{kind}"


def fragment(camera_id: CameraId) -> str:
    """Fragments of a camera whose sink is the bus."""
    return f"vms.fragment.{token(camera_id)}"


def event(camera_id: CameraId, kind: str) -> str:
    """Events of a camera."""
    return f"vms.events.{token(camera_id)}.{token(kind)}"


def command(service: str, name: str) -> str:
    """Requests to a service."""
    return f"vms.command.{token(service)}.{token(name)}"


def token(text: str) -> str:
    """Check that ``text`` may stand between two dots of a subject. Raises VmsError(INVALID)."""
    if not _TOKEN.fullmatch(text):
        raise VmsError(
            ErrorKind.INVALID,
            f"'{text[:80]}' cannot be part of a bus subject: use letters, digits, _ and -",
            text=text[:80],
        )
    return text
