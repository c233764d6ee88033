"""H.264: NAL unit types, sequence parameter sets, decoder configuration records (ITU-T H.264 §7.3, ISO 14496-15 §5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec, VideoParameters
from vms.media.bits import MAX_PARAMETER_SET_BYTES, BitReader, unescape
from vms.media.nal import record_entry

NAL_SLICE: Final = 1
NAL_IDR: Final = 5
NAL_SEI: Final = 6
NAL_SPS: Final = 7
NAL_PPS: Final = 8
NAL_AUD: Final = 9
NAL_STAP_A: Final = 24  # RFC 6184 §5.7.1
NAL_FU_A: Final = 28  # RFC 6184 §5.8

# Profiles whose SPS and configuration record carry chroma format and bit depth (H.264 §7.3.2.1.1).
_HIGH_PROFILES: Final = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_RECORD_HIGH_PROFILES: Final = frozenset({100, 110, 122, 144, 244})
_MAX_DIMENSION: Final = 16384
_EXTENDED_SAR: Final = 255
_SEI_RECOVERY_POINT: Final = 6


@dataclass(frozen=True, slots=True)
class SpsInfo:
    """What the system needs of a sequence parameter set.

    ``width`` and ``height`` are in pixels after cropping; ``frame_rate`` in frames per second, None when not declared;
    ``reorder_frames`` is how many frames may precede one in decoding and follow it in output, None when unknown.
    """

    sps_id: int
    width: int
    height: int
    profile_idc: int
    constraint_flags: int
    level_idc: int
    chroma_format_idc: int
    bit_depth_luma: int
    bit_depth_chroma: int
    frame_rate: float | None
    reorder_frames: int | None

    @property
    def codec_string(self) -> str:
        """RFC 6381 §3.3 name, such as ``avc1.64001F``."""
        return f"avc1.{self.profile_idc:02X}{self.constraint_flags:02X}{self.level_idc:02X}"


def nal_type(nal: bytes) -> int:
    """nal_unit_type of a NAL unit; 0 (unspecified) of an empty one."""
    return nal[0] & 0x1F if nal else 0


def is_slice(kind: int) -> bool:
    """Whether a NAL unit of this type holds picture data (VCL)."""
    return 1 <= kind <= 5


def is_intra_slice(nal: bytes) -> bool:
    """Whether a slice NAL unit is an I or SI slice (H.264 §7.4.3)."""
    r = BitReader(unescape(nal[1:16]))
    try:
        r.ue()  # first_mb_in_slice
        return r.ue() in {2, 4, 7, 9}
    except VmsError:
        return False


def is_recovery_point(nal: bytes) -> bool:
    """Whether a NAL unit is an SEI with a recovery point at this very picture (H.264 §D.1.8)."""
    if nal_type(nal) != NAL_SEI:
        return False
    data = unescape(nal[1:])
    position = 0
    while position + 2 < len(data):
        kind, position = _sei_number(data, position)
        size, position = _sei_number(data, position)
        if kind == _SEI_RECOVERY_POINT and position < len(data):
            return bool(data[position] & 0x80)  # recovery_frame_cnt, ue(v): a leading one is 0
        position += size
    return False


def parse_sps(nal: bytes) -> SpsInfo:
    """Parse a sequence parameter set, NAL header included. Raises VmsError(PROTOCOL)."""
    if nal_type(nal) != NAL_SPS or len(nal) < 5 or len(nal) > MAX_PARAMETER_SET_BYTES:
        raise VmsError(ErrorKind.PROTOCOL, "not an H.264 sequence parameter set")
    profile, constraints, level = nal[1], nal[2], nal[3]
    r = BitReader(unescape(nal[4:]))
    sps_id = r.ue()
    chroma, depth_luma, depth_chroma = 1, 8, 8
    if profile in _HIGH_PROFILES:
        chroma, depth_luma, depth_chroma = _high_profile_fields(r)
    r.ue()  # log2_max_frame_num_minus4
    poc_type = r.ue()
    _skip_poc_fields(r, poc_type)
    r.ue()  # max_num_ref_frames
    r.skip(1)  # gaps_in_frame_num_value_allowed_flag
    width_mbs = r.ue() + 1
    height_map_units = r.ue() + 1
    frame_mbs_only = r.flag()
    if not frame_mbs_only:
        r.skip(1)  # mb_adaptive_frame_field_flag
    r.skip(1)  # direct_8x8_inference_flag
    field_factor = 1 if frame_mbs_only else 2
    crop_x, crop_y = _cropping(r, chroma, field_factor) if r.flag() else (0, 0)
    width = width_mbs * 16 - crop_x
    height = height_map_units * 16 * field_factor - crop_y
    if not (0 < width <= _MAX_DIMENSION and 0 < height <= _MAX_DIMENSION):
        raise VmsError(ErrorKind.PROTOCOL, f"H.264 picture size {width}x{height} is impossible")
    frame_rate, declared = _vui(r) if r.flag() else (None, None)
    return SpsInfo(
        sps_id=sps_id,
        width=width,
        height=height,
        profile_idc=profile,
        constraint_flags=constraints,
        level_idc=level,
        chroma_format_idc=chroma,
        bit_depth_luma=depth_luma,
        bit_depth_chroma=depth_chroma,
        frame_rate=frame_rate,
        reorder_frames=0 if _never_reorders(profile, constraints, poc_type) else declared,
    )


def avcc(sps_list: Sequence[bytes], pps_list: Sequence[bytes]) -> bytes:
    """AVCDecoderConfigurationRecord with 4-byte NAL lengths (ISO/IEC 14496-15 §5.3.3.1).

    Raises VmsError(PROTOCOL) when a set is missing, or too large or too many for the record.
    """
    if not sps_list or not pps_list:
        raise VmsError(ErrorKind.PROTOCOL, "H.264 needs a sequence and a picture parameter set")
    if len(sps_list) > 31 or len(pps_list) > 255:
        raise VmsError(ErrorKind.PROTOCOL, "too many H.264 parameter sets")
    info = parse_sps(sps_list[0])
    out = bytearray((1, info.profile_idc, info.constraint_flags, info.level_idc, 0xFF, 0xE0 | len(sps_list)))
    _append_sets(out, sps_list)
    out.append(len(pps_list))
    _append_sets(out, pps_list)
    if info.profile_idc in _RECORD_HIGH_PROFILES:
        depths = (0xF8 | info.bit_depth_luma - 8, 0xF8 | info.bit_depth_chroma - 8)
        out += bytes((0xFC | info.chroma_format_idc, *depths, 0))
    return bytes(out)


def parameters(sps_list: Sequence[bytes], pps_list: Sequence[bytes]) -> VideoParameters:
    """Codec parameters of a stream with these parameter sets. Raises VmsError(PROTOCOL)."""
    record = avcc(sps_list, pps_list)
    info = parse_sps(sps_list[0])
    return VideoParameters(
        codec=VideoCodec.H264,
        width=info.width,
        height=info.height,
        codec_private=record,
        codec_string=info.codec_string,
        frame_rate=info.frame_rate,
        reorder_frames=info.reorder_frames or 0,
    )


def parameter_sets(codec_private: bytes) -> list[bytes]:
    """The SPS and PPS NAL units of a configuration record, in order. Raises VmsError(CORRUPT)."""
    nals: list[bytes] = []
    try:
        position = 6
        for count in (codec_private[5] & 0x1F, None):
            if count is None:
                count = codec_private[position]  # noqa: PLW2901 - the second count stands behind the first list
                position += 1
            for _ in range(count):
                nal, position = record_entry(codec_private, position)
                nals.append(nal)
    except IndexError:
        raise VmsError(ErrorKind.CORRUPT, "the H.264 configuration record is cut short") from None
    return nals


def _sei_number(data: bytes, position: int) -> tuple[int, int]:
    """A payload type or size in steps of 255 (H.264 §7.3.2.3.1), and the position after it."""
    number = 0
    while position < len(data) and data[position] == 0xFF:
        number += 255
        position += 1
    last = data[position] if position < len(data) else 0
    return number + last, position + 1


def _append_sets(out: bytearray, nals: Sequence[bytes]) -> None:
    for nal in nals:
        if not 0 < len(nal) <= MAX_PARAMETER_SET_BYTES:
            raise VmsError(ErrorKind.PROTOCOL, f"an H.264 parameter set of {len(nal)} bytes")
        out += len(nal).to_bytes(2, "big") + nal


def _never_reorders(profile: int, constraints: int, poc_type: int) -> bool:
    # Baseline has no B slices; POC type 2 forbids output in another order (H.264 §8.2.1.3); the intra profiles are
    # those with constraint_set3_flag, and profile 44.
    intra_only = profile == 44 or (profile in {100, 110, 122, 244} and bool(constraints & 0x10))
    return profile == 66 or poc_type == 2 or intra_only


def _high_profile_fields(r: BitReader) -> tuple[int, int, int]:
    chroma = r.ue()
    if chroma > 3:
        raise VmsError(ErrorKind.PROTOCOL, f"H.264 chroma format {chroma} does not exist")
    if chroma == 3:
        r.skip(1)  # separate_colour_plane_flag
    depth_luma, depth_chroma = r.ue() + 8, r.ue() + 8
    if depth_luma > 14 or depth_chroma > 14:
        raise VmsError(ErrorKind.PROTOCOL, "H.264 bit depth above 14")
    r.skip(1)  # qpprime_y_zero_transform_bypass_flag
    if r.flag():  # seq_scaling_matrix_present_flag
        for index in range(8 if chroma != 3 else 12):
            if r.flag():
                _skip_scaling_list(r, 16 if index < 6 else 64)
    return chroma, depth_luma, depth_chroma


def _skip_scaling_list(r: BitReader, size: int) -> None:
    last, following = 8, 8
    for _ in range(size):
        if following:
            following = (last + r.se()) & 0xFF
        last = following or last


def _skip_poc_fields(r: BitReader, poc_type: int) -> None:
    if poc_type == 0:
        r.ue()  # log2_max_pic_order_cnt_lsb_minus4
    elif poc_type == 1:
        r.skip(1)
        r.se()
        r.se()
        cycle = r.ue()
        if cycle > 255:
            raise VmsError(ErrorKind.PROTOCOL, "H.264 picture order cycle above 255")
        for _ in range(cycle):
            r.se()
    elif poc_type != 2:
        raise VmsError(ErrorKind.PROTOCOL, f"H.264 picture order type {poc_type} does not exist")


def _cropping(r: BitReader, chroma: int, field_factor: int) -> tuple[int, int]:
    left, right, top, bottom = r.ue(), r.ue(), r.ue(), r.ue()
    unit_x = 2 if chroma in {1, 2} else 1
    unit_y = (2 if chroma == 1 else 1) * field_factor
    return (left + right) * unit_x, (top + bottom) * unit_y


def _vui(r: BitReader) -> tuple[float | None, int | None]:
    """Frame rate and reorder depth of the VUI (H.264 §E.1.1)."""
    if r.flag() and r.bits(8) == _EXTENDED_SAR:
        r.skip(32)
    if r.flag():  # overscan_info_present_flag
        r.skip(1)
    if r.flag():  # video_signal_type_present_flag
        r.skip(4)
        if r.flag():
            r.skip(24)
    if r.flag():  # chroma_loc_info_present_flag
        r.ue()
        r.ue()
    frame_rate = None
    if r.flag():  # timing_info_present_flag
        ticks, scale = r.bits(32), r.bits(32)
        r.skip(1)  # fixed_frame_rate_flag
        if ticks and scale and 0.01 <= scale / (2 * ticks) <= 1000:
            frame_rate = scale / (2 * ticks)
    nal_hrd = r.flag()
    if nal_hrd:
        _skip_hrd(r)
    vcl_hrd = r.flag()
    if vcl_hrd:
        _skip_hrd(r)
    if nal_hrd or vcl_hrd:
        r.skip(1)  # low_delay_hrd_flag
    r.skip(1)  # pic_struct_present_flag
    reorder = None
    if r.flag():  # bitstream_restriction_flag
        r.skip(1)
        for _ in range(4):
            r.ue()
        reorder = min(r.ue(), 16)
    return frame_rate, reorder


def _skip_hrd(r: BitReader) -> None:
    count = r.ue() + 1
    if count > 32:
        raise VmsError(ErrorKind.PROTOCOL, "H.264 HRD with more than 32 entries")
    r.skip(8)
    for _ in range(count):
        r.ue()
        r.ue()
        r.skip(1)
    r.skip(20)
