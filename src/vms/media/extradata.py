"""Codec headers of media files: configuration records or Annex B, any NAL length size, to what the system carries."""

from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec, VideoParameters
from vms.media import h264, h265
from vms.media.nal import annex_b_to_lengths, join_lengths, split_annex_b

_RECORD_VERSION: Final = 1  # configuration records begin with it, Annex B with a start code


def parameters_of(codec: VideoCodec, nals: list[bytes]) -> VideoParameters:
    """Codec parameters from NAL units among which the parameter sets are. Raises VmsError(UNSUPPORTED)."""
    try:
        if codec is VideoCodec.H264:
            return h264.parameters(
                [nal for nal in nals if h264.nal_type(nal) == h264.NAL_SPS],
                [nal for nal in nals if h264.nal_type(nal) == h264.NAL_PPS],
            )
        return h265.parameters(
            [nal for nal in nals if h265.nal_type(nal) == h265.NAL_VPS],
            [nal for nal in nals if h265.nal_type(nal) == h265.NAL_SPS],
            [nal for nal in nals if h265.nal_type(nal) == h265.NAL_PPS],
        )
    except VmsError as error:
        raise VmsError(ErrorKind.UNSUPPORTED, f"the video has no usable parameter sets: {error.message}") from None


def header_nals(codec: VideoCodec, extradata: bytes) -> list[bytes]:
    """The parameter sets of a file's header, in order; none when it has none. Raises VmsError(CORRUPT)."""
    if not extradata:
        return []
    if extradata[0] != _RECORD_VERSION:
        return split_annex_b(extradata)
    return h264.parameter_sets(extradata) if codec is VideoCodec.H264 else h265.parameter_sets(extradata)


def length_size(codec: VideoCodec, extradata: bytes) -> int:
    """Bytes of each NAL length in the file's packets; 0 means Annex B (ISO/IEC 14496-15 §5.3.3.1.2, §8.3.3.1.2)."""
    at = 4 if codec is VideoCodec.H264 else 21
    if len(extradata) <= at or extradata[0] != _RECORD_VERSION:
        return 0
    return (extradata[at] & 3) + 1


def with_four_byte_lengths(data: bytes, length_size: int) -> bytes:
    """An access unit as the system carries it, from one with NAL lengths of ``length_size`` bytes or start codes (0).

    Lengths that overrun are kept as far as there are bytes: what cannot be decoded is for the decoder to say.
    """
    if length_size == 4:
        return data
    if length_size == 0:
        return annex_b_to_lengths(data)
    nals = []
    position = 0
    while position < len(data):
        start = position + length_size
        position = start + int.from_bytes(data[position:start], "big")
        nals.append(data[start:position])
    return join_lengths(nals)
