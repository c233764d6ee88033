"""Tables. Each has one writing service: cameras the API, segments and gaps storage."""

from vms.db.models.base import Base
from vms.db.models.camera import Camera
from vms.db.models.recording import Gap, Segment, SegmentState

__all__ = ["Base", "Camera", "Gap", "Segment", "SegmentState"]
