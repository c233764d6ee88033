"""The gap ledger at its source: every span that did not reach the disk, with its one cause."""

from dataclasses import dataclass
from typing import Final

from vms.common.errors import ErrorKind
from vms.common.types import CameraId
from vms.proto.messages import Gap, GapCause

# Two frames of a slow camera may be this far apart without anything being missing.
TOLERANCE_US: Final = 1_500_000


_CAUSE_OF_ERROR: Final[dict[ErrorKind, GapCause]] = {
    ErrorKind.AUTH: GapCause.AUTH,
    ErrorKind.FORBIDDEN: GapCause.AUTH,
    ErrorKind.UNREACHABLE: GapCause.CAMERA_OFFLINE,
    ErrorKind.NOT_FOUND: GapCause.CAMERA_OFFLINE,
    ErrorKind.UNSUPPORTED: GapCause.CAMERA_OFFLINE,
    ErrorKind.TIMEOUT: GapCause.NETWORK,
    ErrorKind.CLOSED: GapCause.NETWORK,
    ErrorKind.PROTOCOL: GapCause.NETWORK,
    ErrorKind.STORAGE: GapCause.DISK_FULL,
}


@dataclass(frozen=True, slots=True)
class Interruption:
    """Why a frame does not follow the one before it; travels with the fragment that it begins."""

    cause: GapCause
    detail: str


def cause_of(kind: ErrorKind) -> GapCause:
    """The ledger's word for an error of a session or a disk."""
    return _CAUSE_OF_ERROR.get(kind, GapCause.UNKNOWN)


class GapTracker:
    """Follows the end of what is recorded and says what is missing when recording goes on. Pure."""

    def __init__(self, camera_id: CameraId, last_end_us: int | None) -> None:
        self._camera_id = camera_id
        self._last_end_us = last_end_us
        self._cause = GapCause.RECORDER_DOWN
        self._detail = "the recorder was not running"

    def interrupted(self, interruption: Interruption) -> None:
        """What comes next does not follow. The first cause since the last recorded frame is kept.

        Calls must come in the order of the frames, not of the clock: while fragments wait for the disk, an interruption
        that is told at once would be taken for one before them, and forgotten when they are written.
        """
        if self._cause is GapCause.UNKNOWN:
            self._cause = interruption.cause
            self._detail = interruption.detail

    def recorded(self, start_us: int, end_us: int) -> Gap | None:
        """A fragment is on disk; returns the gap before it, if there is one."""
        gap = None
        if self._last_end_us is not None and start_us - self._last_end_us > TOLERANCE_US:
            gap = Gap(self._camera_id, self._last_end_us, start_us, self._cause, self._detail)
        self._last_end_us = max(end_us, self._last_end_us or 0)
        self._cause = GapCause.UNKNOWN
        self._detail = ""
        return gap
