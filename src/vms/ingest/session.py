"""One camera: one owner task that connects, hands frames on, and comes back when the camera does."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from vms.common.camera import CameraConfig, CameraState, CameraStatus
from vms.common.clock import Clock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, FrameFlag, VideoParameters
from vms.common.supervise import BackoffPolicy, supervise
from vms.ingest.config import IngestSettings
from vms.ingest.gaps import cause_of
from vms.ingest.rates import RateMeter
from vms.ingest.ring import FrameRing
from vms.ingest.state import SessionState
from vms.ingest.track import RecordingTrack
from vms.media.rtsp.session import RtspSession
from vms.media.rtsp.tick_reader import TickReader
from vms.telemetry.logging import get_logger

# Plain integers: an IntFlag operation costs a microsecond, and these run for every frame.
_KEYFRAME: Final = int(FrameFlag.KEYFRAME)
_DISCONTINUITY: Final = int(FrameFlag.DISCONTINUITY)

_RECENT_S: Final = 120.0
_DISK_BEHIND_S: Final = 3.0  # a recorder this far behind is worth telling
_NO_RATE_S: Final = 3.0
_HEALTHY_S: Final = 10.0


class LiveOutput(Protocol):
    """Whoever wants frames while they are asked for."""

    wanted: bool  # whether anybody asks now; read once per frame

    def expire(self) -> None:
        """Called once a second: see whether anybody still asks."""
        ...

    def publish(self, unit: AccessUnit, parameters: VideoParameters) -> None:
        """Take one frame; must not block."""
        ...


@dataclass(slots=True)
class SessionCounters:
    """Totals over all connections since this process started; read by metrics, never reset."""

    frames: int = 0
    bytes: int = 0
    lost_packets: int = 0
    corrupt_units: int = 0
    reconnects: int = 0


class CameraSession:
    """Runs one enabled camera. ``run`` returns only when cancelled, and leaves nothing behind then."""

    def __init__(
        self,
        config: CameraConfig,
        *,
        settings: IngestSettings,
        reader: TickReader,
        clock: Clock,
        worker: str,
        track: RecordingTrack | None,
        live: LiveOutput,
        on_change: Callable[["CameraSession"], None],
    ) -> None:
        self.config = config
        self.ring = FrameRing(seconds=settings.ring_s, max_bytes=settings.ring_max_bytes)
        self.counters = SessionCounters()
        self.rates = RateMeter()
        self.track = track
        self.parameters: VideoParameters | None = None
        self.clock_offset_us: int | None = None
        self.last_frame_us: int | None = None
        self._settings = settings
        self._reader = reader
        self._clock = clock
        self._worker = worker
        self._live = live
        self._on_change = on_change
        self._state = SessionState(CameraState.CONNECTING, clock.now_us())
        self._stream: RtspSession | None = None
        self._before = SessionCounters()  # as they stood when this connection began
        self._seq = 0
        self._fresh = True  # no frame of this connection has been taken yet
        self._online_at: float | None = None
        self._was_recording = False
        self._log = get_logger("vms.ingest.session").bind(camera_id=config.id)

    @property
    def state(self) -> SessionState:
        """State, since when, last error, next try."""
        return self._state

    @property
    def is_recording(self) -> bool:
        """Whether frames arrive and are being kept."""
        return self._state.is_up and self.track is not None and self.track.is_recording

    async def run(self) -> None:
        """Keep the camera connected until cancelled."""
        settings = self._settings
        await supervise(
            self._stream_once,
            policy=BackoffPolicy(
                first_s=settings.retry_first_s,
                limit_s=settings.retry_limit_s,
                # A camera that answers nothing, or plays and sends nothing, may take almost this long to fail.
                healthy_after_s=settings.connect_timeout_s + settings.stall_timeout_s + _HEALTHY_S,
            ),
            clock=self._clock,
            on_failure=self._failed,
            limit_s=self._retry_limit_s,
        )

    def check(self) -> None:
        """Once a second: rates, and whether a session that delivers frames does so as it should."""
        self._sample()
        self._live.expire()
        self._set(self._state.checked(self._problem(), self._clock.now_us()))
        if self.is_recording != self._was_recording:
            # Begins a moment after the state changed, and who added the camera waits for it.
            self._was_recording = not self._was_recording
            self._on_change(self)

    def status(self) -> CameraStatus:
        """What the rest of the system is told."""
        state, parameters, track = self._state, self.parameters, self.track
        counters = self.counters
        return CameraStatus(
            camera_id=self.config.id,
            state=state.state,
            since_us=state.since_us,
            last_error=state.last_error,
            last_error_kind=state.last_error_kind,
            next_try_us=state.next_try_us,
            last_frame_us=self.last_frame_us,
            recording=self.is_recording,
            codec=parameters.codec if parameters else None,
            width=parameters.width if parameters else None,
            height=parameters.height if parameters else None,
            fps=round(self.rates.fps, 2),
            bitrate_bps=round(self.rates.bitrate_bps),
            frames_total=counters.frames,
            bytes_total=counters.bytes,
            lost_packets_total=counters.lost_packets,
            reconnects_total=counters.reconnects,
            gaps_total=track.gaps_total if track is not None else 0,
            clock_offset_us=self.clock_offset_us,
            worker=self._worker,
            updated_us=self._clock.now_us(),
        )

    async def _stream_once(self) -> None:
        self._set(self._state.connecting(self._clock.now_us()))
        self._fresh = True
        config = self.config
        stream = self._stream = RtspSession(
            config.url,
            username=config.username,
            password=config.password.get_secret_value(),
            reader=self._reader,
            clock=self._clock,
            on_parameters=self._on_parameters,
            on_unit=self._on_unit,
            connect_timeout_s=self._settings.connect_timeout_s,
            stall_timeout_s=self._settings.stall_timeout_s,
        )
        self._before = replace(self.counters)
        try:
            await stream.run()
        finally:
            self._sample()
            self._stream = None
            self.rates.clear()
            self.ring.clear()
            if self.track is not None:
                self.track.flush()

    def _on_parameters(self, parameters: VideoParameters) -> None:
        self.parameters = parameters
        self.ring.set_parameters(parameters)
        if self.track is not None:
            self.track.set_parameters(parameters)

    def _on_unit(self, unit: AccessUnit) -> None:
        # Hot: 25 times a second for every camera.
        if self._fresh and not self._first_frame(unit):
            return
        unit.seq = self._seq
        self._seq += 1
        self.ring.append(unit)
        track = self.track
        if track is not None:
            track.add(unit)
        if self._live.wanted and self.parameters is not None:
            self._live.publish(unit, self.parameters)

    def _first_frame(self, unit: AccessUnit) -> bool:
        """Take the first keyframe of a connection; frames before it cannot be decoded."""
        if not unit.flags & _KEYFRAME:
            return False
        self._fresh = False
        unit.flags |= _DISCONTINUITY
        if self._online_at is not None:
            self.counters.reconnects += 1
        self._online_at = self._clock.monotonic()
        self._set(self._state.frame(self._clock.now_us()))
        self._log.info("online", codec=self.parameters.codec_string if self.parameters else None)
        return True

    def _failed(self, error: VmsError, *, delay_s: float, failures: int) -> None:
        if not self._fresh:
            self._online_at = self._clock.monotonic()
        if self.track is not None:
            self.track.interrupted(cause_of(error.kind), error.message)
        was = self._state
        self._set(self._state.failed(error, self._clock.now_us(), delay_s))
        if error.kind is ErrorKind.INTERNAL:
            self._log.error("session failed", error=error.message, exc_info=error.__cause__)
        elif was.last_error != error.message or failures == 1:
            self._log.warning(
                self._state.state.value, error=error.message, kind=error.kind.value, next_try_s=round(delay_s, 1)
            )

    def _retry_limit_s(self, error: VmsError) -> float:
        """A camera that was there a moment ago is asked often: reboots and cable pulls end within minutes."""
        if error.kind is ErrorKind.AUTH:
            return self._settings.retry_limit_s
        recent = self._online_at is not None and self._clock.monotonic() - self._online_at < _RECENT_S
        return self._settings.retry_recent_limit_s if recent else self._settings.retry_limit_s

    def _sample(self) -> None:
        stream = self._stream
        if stream is None:
            return
        stats, counters, before = stream.stats, self.counters, self._before
        counters.frames = before.frames + stats.units
        counters.bytes = before.bytes + stats.bytes
        counters.lost_packets = before.lost_packets + stats.lost_packets
        counters.corrupt_units = before.corrupt_units + stats.corrupt_units
        self.clock_offset_us = stats.clock_offset_us
        self.last_frame_us = stats.last_unit_us or self.last_frame_us
        self.rates.sample(self._clock.monotonic(), counters.frames, counters.bytes)

    def _problem(self) -> VmsError | None:
        track = self.track
        if track is not None and track.error is not None:
            return track.error
        if track is not None and track.behind_s > _DISK_BEHIND_S:
            return VmsError(ErrorKind.STORAGE, f"the disk is {track.behind_s:.0f} s behind: it is too slow or failing")
        online_s = self._clock.monotonic() - (self._online_at or 0.0)
        if online_s > _NO_RATE_S and self.rates.fps == 0.0:
            return VmsError(ErrorKind.TIMEOUT, "no frame in the last seconds: the camera or the network stalls")
        return None

    def _set(self, state: SessionState) -> None:
        if state == self._state:
            return
        self._state = state
        self._on_change(self)


def disabled_status(config: CameraConfig, *, since_us: int, now_us: int, worker: str) -> CameraStatus:
    """Status of a camera that nobody wants to run."""
    return CameraStatus(
        camera_id=config.id, state=CameraState.DISABLED, since_us=since_us, worker=worker, updated_us=now_us
    )
