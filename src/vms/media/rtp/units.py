"""From assembled payloads to access units: parameters, keyframes, media time, capture time. Runs once per frame."""

from collections.abc import Callable
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, FrameFlag, VideoCodec, VideoParameters
from vms.media import h264, h265
from vms.media.nal import split_lengths
from vms.media.rtp.capture_clock import CaptureClock
from vms.media.rtp.parameter_store import ParameterStore
from vms.media.rtp.rtcp import SenderReport
from vms.media.rtp.timeline import Timeline

# Without an IDR picture for this long, a recovery point made of I slices alone counts as a keyframe (H.264).
RECOVERY_AFTER_US: Final = 30_000_000
# With nothing to begin at for this long, the session cannot be recorded.
NO_KEYFRAME_US: Final = 60_000_000

_H264_IDR: Final = 1 << h264.NAL_IDR
_H264_SEI: Final = 1 << h264.NAL_SEI
_H264_PARAMETERS: Final = 1 << h264.NAL_SPS | 1 << h264.NAL_PPS
_H265_IRAP: Final = 0xFF << 16
_H265_RASL: Final = 1 << h265.NAL_RASL_N | 1 << h265.NAL_RASL_R
_H265_CRA: Final = 1 << h265.NAL_CRA
_H265_PARAMETERS: Final = 1 << h265.NAL_VPS | 1 << h265.NAL_SPS | 1 << h265.NAL_PPS
_KEYFRAME: Final = int(FrameFlag.KEYFRAME)
_DISCONTINUITY: Final = int(FrameFlag.DISCONTINUITY)
_CORRUPT: Final = int(FrameFlag.CORRUPT)


class UnitBuilder:
    """Makes the access units of one session and hands them to ``on_unit``.

    Nothing is handed on before the first keyframe with known parameters; that unit and every unit after a break of
    media or capture time carries DISCONTINUITY. ``on_parameters`` is called before the first unit, and before the
    keyframe from which other parameters hold.
    """

    __slots__ = (
        "_clock",
        "_early_report",
        "_is_h264",
        "_keyframe_mask",
        "_last_idr_us",
        "_notable",
        "_on_parameters",
        "_on_unit",
        "_parameter_mask",
        "_parameters",
        "_skip_rasl",
        "_store",
        "_timeline",
        "_waiting_since_us",
        "corrupt_units",
        "keyframes",
        "last_unit_us",
        "units",
        "units_skipped",
    )

    def __init__(
        self,
        codec: VideoCodec,
        parameter_sets: tuple[bytes, ...],
        on_parameters: Callable[[VideoParameters], None],
        on_unit: Callable[[AccessUnit], None],
    ) -> None:
        self._is_h264 = codec is VideoCodec.H264
        self._keyframe_mask = _H264_IDR if self._is_h264 else _H265_IRAP
        self._parameter_mask = _H264_PARAMETERS if self._is_h264 else _H265_PARAMETERS
        # Nine in ten units have none of these and take the short way.
        self._notable = self._keyframe_mask | self._parameter_mask | (_H264_SEI if self._is_h264 else 0)
        self._on_parameters = on_parameters
        self._on_unit = on_unit
        self._store = ParameterStore(codec)
        self._store.update(parameter_sets)
        self._parameters: VideoParameters | None = None
        self._timeline = Timeline()
        self._clock = CaptureClock()
        self._early_report: tuple[SenderReport, int] | None = None  # and when it came, before the first unit
        self._skip_rasl = False
        self._last_idr_us: int | None = None
        self._waiting_since_us: int | None = None
        self.units = 0  # handed on
        self.units_skipped = 0  # complete, but of no use before the first keyframe
        self.keyframes = 0
        self.corrupt_units = 0
        self.last_unit_us = 0  # arrival of the last complete unit, handed on or not

    @property
    def clock(self) -> CaptureClock:
        """The estimate of the camera's clock."""
        return self._clock

    def add(
        self,
        payload: bytes,
        kinds: int,
        timestamp: int,
        arrival_us: int,
        corrupt: bool = False,  # noqa: FBT001, FBT002 - hot: keywords cost
        new_source: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Take one picture.

        ``payload`` has 4-byte NAL lengths; ``kinds`` is the set of its NAL unit types as bits; ``timestamp`` is the RTP
        timestamp; ``arrival_us`` when its first packet came; ``corrupt`` that packets of it were lost; ``new_source``
        that the SSRC is not that of the unit before. Raises VmsError(TIMEOUT) after a minute without use.
        """
        self.last_unit_us = arrival_us
        flags = 0
        if kinds & self._notable and self._is_keyframe(payload, kinds, arrival_us, new_source):
            flags = _KEYFRAME
            self._apply_parameters()
            self.keyframes += 1
        elif self._skip_rasl and kinds & _H265_RASL:
            # Leading pictures of the first CRA refer to frames before it, which nobody has (H.265 §3.111).
            self.units_skipped += 1
            return
        if self._parameters is None:
            self._wait(arrival_us)
            return
        pts, dts, broken = self._timeline.advance(timestamp, arrival_us, flags, new_source)
        if broken:
            self._restart_clock()
        capture_us, stepped = self._clock.capture_us(pts, arrival_us)
        if broken or stepped:
            flags |= _DISCONTINUITY
        if corrupt:
            flags |= _CORRUPT
            self.corrupt_units += 1
        self.units = seq = self.units + 1
        self._on_unit(AccessUnit(seq - 1, pts, dts, capture_us, flags, payload))

    def sender_report(self, report: SenderReport, arrival_us: int) -> None:
        """Take the camera's statement of its clock. Reports without wall time (NTP 0) say nothing."""
        if report.ntp_us <= 0:
            return
        if not self.units:
            self._early_report = report, arrival_us
            return
        self._clock.sender_report(report.ntp_us, self._timeline.unwrap(report.rtp_timestamp), arrival_us)

    def _restart_clock(self) -> None:
        """Media time begins anew; what was reported ahead of the first unit holds from that unit on.

        Else a session that begins with a backlog would take the time it arrives for the time it was captured.
        """
        self._clock.restart()
        if self._early_report is not None:
            (report, arrival_us), self._early_report = self._early_report, None
            self._clock.sender_report(report.ntp_us, self._timeline.unwrap(report.rtp_timestamp), arrival_us)

    def _is_keyframe(self, payload: bytes, kinds: int, arrival_us: int, new_source: int) -> bool:
        """Look closer at a unit with parameter sets, with a NAL unit of a keyframe, or with SEI."""
        if kinds & self._parameter_mask:
            self._store.update(split_lengths(payload))
        if kinds & self._keyframe_mask:
            self._last_idr_us = arrival_us
            self._skip_rasl = bool(kinds & _H265_CRA and not self._is_h264 and (self._parameters is None or new_source))
            return True
        return self._is_h264 and bool(kinds & _H264_SEI) and self._is_recovery_point(payload, arrival_us)

    def _apply_parameters(self) -> None:
        found = self._store.take_change()
        if found is None:
            return
        if self._parameters is None:
            self._timeline = Timeline(found.reorder_frames, found.frame_rate)
        else:
            self._timeline.declare(found.reorder_frames, found.frame_rate)
        self._parameters = found
        self._on_parameters(found)

    def _wait(self, arrival_us: int) -> None:
        """Pass over a unit that nothing can be done with yet; not for ever."""
        self.units_skipped += 1
        if self._waiting_since_us is None:
            self._waiting_since_us = arrival_us
        if arrival_us - self._waiting_since_us > NO_KEYFRAME_US:
            what = "keyframe: set a shorter I-frame interval on it" if not self.keyframes else "usable parameter sets"
            raise VmsError(ErrorKind.TIMEOUT, f"the camera has sent no {what}")

    def _is_recovery_point(self, payload: bytes, arrival_us: int) -> bool:
        """Encoders with open GOPs may never send IDR; a decoder can start at an I picture with recovery count 0."""
        since_us = self._last_idr_us if self._last_idr_us is not None else self._waiting_since_us
        if since_us is None or arrival_us - since_us < RECOVERY_AFTER_US:
            return False
        nals = list(split_lengths(payload))
        slices = [nal for nal in nals if h264.is_slice(h264.nal_type(nal))]
        return all(h264.is_intra_slice(nal) for nal in slices) and any(h264.is_recovery_point(nal) for nal in nals)
