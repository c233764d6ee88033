"""What flows through the system: codec parameters and access units."""

from dataclasses import dataclass
from enum import IntFlag, StrEnum

from vms.common.types import Resolution


class VideoCodec(StrEnum):
    """Video codecs that are recorded as they come."""

    H264 = "h264"
    H265 = "h265"


class Container(StrEnum):
    """File formats of recordings; the value is the file's suffix."""

    MP4 = "mp4"
    MKV = "mkv"


@dataclass(frozen=True, slots=True)
class VideoParameters:
    """What a decoder needs before the first frame.

    ``codec_private`` is the AVCDecoderConfigurationRecord or HEVCDecoderConfigurationRecord
    (ISO/IEC 14496-15 §5.3.3 and §8.3.3), with 4-byte NAL lengths; ``codec_string`` is its RFC 6381 name.
    """

    codec: VideoCodec
    width: int
    height: int
    codec_private: bytes
    codec_string: str
    frame_rate: float | None = None  # frames per second as declared in the bitstream, when it is
    reorder_frames: int = 0  # how many frames may precede a frame in decoding and follow it in output

    @property
    def resolution(self) -> Resolution:
        """Size of the decoded picture after cropping."""
        return Resolution(self.width, self.height)


class FrameFlag(IntFlag):
    """Facts about one access unit or fragment."""

    NONE = 0
    KEYFRAME = 1  # decoding can start here
    DISCONTINUITY = 2  # media time does not follow from the frame before: reconnect, loss of a span, clock step
    MOTION = 4
    CORRUPT = 8  # packets of it were lost


class AccessUnit:
    """One coded picture. Made 25 times a second per camera, so a plain class with slots.

    ``payload`` holds its NAL units, each behind a 4-byte big-endian length (ISO/IEC 14496-15), parameter sets included
    where the camera sent them in-band. ``pts_90k`` and ``dts_90k`` count from the start of the session, unwrapped;
    ``dts_90k`` never decreases. ``capture_us`` is the wall time of capture as estimated (design note `time`).
    """

    __slots__ = ("capture_us", "dts_90k", "flags", "payload", "pts_90k", "seq")

    def __init__(self, seq: int, pts_90k: int, dts_90k: int, capture_us: int, flags: int, payload: bytes) -> None:
        self.seq = seq
        self.pts_90k = pts_90k
        self.dts_90k = dts_90k
        self.capture_us = capture_us
        self.flags = flags
        self.payload = payload

    @property
    def is_keyframe(self) -> bool:
        """Whether decoding can start here."""
        return self.flags & 1 == 1  # FrameFlag.KEYFRAME, without the cost of an enum
