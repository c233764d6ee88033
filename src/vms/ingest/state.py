"""States of a camera session, as a pure machine: events in, status out."""

from dataclasses import dataclass, replace
from typing import Final

from vms.common.camera import CameraState
from vms.common.errors import ErrorKind, VmsError

_UP: Final = frozenset({CameraState.ONLINE, CameraState.DEGRADED})
_AUTH_KINDS: Final = frozenset({ErrorKind.AUTH, ErrorKind.FORBIDDEN})


@dataclass(frozen=True, slots=True)
class SessionState:
    """State, since when, and what went wrong last. Wall times in microseconds."""

    state: CameraState
    since_us: int
    last_error: str | None = None
    last_error_kind: ErrorKind | None = None
    next_try_us: int | None = None

    @property
    def is_up(self) -> bool:
        """Whether frames arrive."""
        return self.state in _UP

    def connecting(self, now_us: int) -> "SessionState":
        """A try begins. A camera that is off stays ``offline`` while it is being tried."""
        if self.state in {CameraState.OFFLINE, CameraState.AUTH_FAILED}:
            return replace(self, next_try_us=None)
        return self._moved(CameraState.CONNECTING, now_us)

    def frame(self, now_us: int) -> "SessionState":
        """The first frame of a session arrived."""
        return replace(self._moved(CameraState.ONLINE, now_us), last_error=None, last_error_kind=None, next_try_us=None)

    def failed(self, error: VmsError, now_us: int, delay_s: float) -> "SessionState":
        """The session ended; the next try comes in ``delay_s``."""
        state = CameraState.AUTH_FAILED if error.kind in _AUTH_KINDS else CameraState.OFFLINE
        return replace(
            self._moved(state, now_us),
            last_error=error.message,
            last_error_kind=error.kind,
            next_try_us=now_us + round(delay_s * 1e6),
        )

    def checked(self, problem: VmsError | None, now_us: int) -> "SessionState":
        """The regular health check of a session that delivers frames: ``degraded`` while something is wrong."""
        if not self.is_up:
            return self
        if problem is None:
            return replace(self._moved(CameraState.ONLINE, now_us), last_error=None, last_error_kind=None)
        moved = self._moved(CameraState.DEGRADED, now_us)
        return replace(moved, last_error=problem.message, last_error_kind=problem.kind)

    def _moved(self, state: CameraState, now_us: int) -> "SessionState":
        return self if state is self.state else replace(self, state=state, since_us=now_us)
