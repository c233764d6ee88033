"""H.265: NAL unit types, sequence parameter sets, decoder configuration records (ITU-T H.265 §7.3, ISO 14496-15 §8)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec, VideoParameters
from vms.media.bits import MAX_PARAMETER_SET_BYTES, BitReader, unescape
from vms.media.nal import record_entry

NAL_RASL_N: Final = 8
NAL_RASL_R: Final = 9
NAL_CRA: Final = 21
NAL_VPS: Final = 32
NAL_SPS: Final = 33
NAL_PPS: Final = 34
NAL_AUD: Final = 35
NAL_AP: Final = 48  # RFC 7798 §4.4.2
NAL_FU: Final = 49  # RFC 7798 §4.4.3

_MAX_DIMENSION: Final = 16384
_EXTENDED_SAR: Final = 255
_PROFILE_SPACE: Final = ("", "A", "B", "C")


@dataclass(frozen=True, slots=True)
class SpsInfo:
    """What the system needs of a sequence parameter set.

    ``width`` and ``height`` are in pixels after cropping; ``frame_rate`` in frames per second, None when not declared;
    ``reorder_frames`` is how many frames may precede one in decoding and follow it in output.
    ``profile_tier_level`` is the 12-byte general part as it stands in the bitstream (H.265 §7.3.3).
    """

    sps_id: int
    width: int
    height: int
    profile_tier_level: bytes
    temporal_layers: int
    temporal_nesting: bool
    chroma_format_idc: int
    bit_depth_luma: int
    bit_depth_chroma: int
    frame_rate: float | None
    reorder_frames: int

    @property
    def profile_idc(self) -> int:
        """general_profile_idc."""
        return self.profile_tier_level[0] & 0x1F

    @property
    def level_idc(self) -> int:
        """general_level_idc: 30 times the level."""
        return self.profile_tier_level[11]

    @property
    def codec_string(self) -> str:
        """ISO/IEC 14496-15 §E.3 name, such as ``hvc1.1.6.L93.B0``."""
        head = self.profile_tier_level[0]
        compatibility = int.from_bytes(self.profile_tier_level[1:5], "big")
        reversed_bits = int(f"{compatibility:032b}"[::-1], 2)
        tier = "H" if head & 0x20 else "L"
        name = f"hvc1.{_PROFILE_SPACE[head >> 6]}{head & 0x1F}.{reversed_bits:X}.{tier}{self.level_idc}"
        constraints = self.profile_tier_level[5:11].rstrip(b"\x00")
        return name + "".join(f".{byte:X}" for byte in constraints)


def nal_type(nal: bytes) -> int:
    """nal_unit_type of a NAL unit; 63 (unspecified) of an empty one."""
    return nal[0] >> 1 & 0x3F if nal else 63


def is_slice(kind: int) -> bool:
    """Whether a NAL unit of this type holds picture data (VCL)."""
    return kind < 32


def is_irap(kind: int) -> bool:
    """Whether a picture of this type is a random access point (BLA, IDR, CRA; H.265 §3.69)."""
    return 16 <= kind <= 23


def parse_sps(nal: bytes) -> SpsInfo:
    """Parse a sequence parameter set, NAL header included. Raises VmsError(PROTOCOL)."""
    if nal_type(nal) != NAL_SPS or len(nal) < 16 or len(nal) > MAX_PARAMETER_SET_BYTES:
        raise VmsError(ErrorKind.PROTOCOL, "not an H.265 sequence parameter set")
    rbsp = unescape(nal[2:])
    r = BitReader(rbsp)
    r.skip(4)  # sps_video_parameter_set_id
    sub_layers = r.bits(3) + 1
    nesting = r.flag()
    profile_tier_level = rbsp[1:13]
    r.skip(96)
    _skip_sub_layer_profiles(r, sub_layers)
    sps_id = r.ue()
    chroma = r.ue()
    if chroma > 3:
        raise VmsError(ErrorKind.PROTOCOL, f"H.265 chroma format {chroma} does not exist")
    separate_planes = chroma == 3 and r.flag()
    width, height = r.ue(), r.ue()
    if r.flag():  # conformance_window_flag
        crop_x, crop_y = _window(r, 0 if separate_planes else chroma)
        width, height = width - crop_x, height - crop_y
    if not (0 < width <= _MAX_DIMENSION and 0 < height <= _MAX_DIMENSION):
        raise VmsError(ErrorKind.PROTOCOL, f"H.265 picture size {width}x{height} is impossible")
    depth_luma, depth_chroma = r.ue() + 8, r.ue() + 8
    if depth_luma > 16 or depth_chroma > 16:
        raise VmsError(ErrorKind.PROTOCOL, "H.265 bit depth above 16")
    poc_bits = r.ue() + 4
    if poc_bits > 16:
        raise VmsError(ErrorKind.PROTOCOL, "H.265 picture order count above 16 bits")
    reorder = 0
    for _ in range(sub_layers if r.flag() else 1):
        r.ue()  # sps_max_dec_pic_buffering_minus1
        reorder = min(r.ue(), 16)
        r.ue()  # sps_max_latency_increase_plus1
    return SpsInfo(
        sps_id=sps_id,
        width=width,
        height=height,
        profile_tier_level=profile_tier_level,
        temporal_layers=sub_layers,
        temporal_nesting=nesting,
        chroma_format_idc=chroma,
        bit_depth_luma=depth_luma,
        bit_depth_chroma=depth_chroma,
        frame_rate=_frame_rate(r, poc_bits),
        reorder_frames=reorder,
    )


def hvcc(vps: Sequence[bytes], sps: Sequence[bytes], pps: Sequence[bytes]) -> bytes:
    """HEVCDecoderConfigurationRecord with 4-byte NAL lengths (ISO/IEC 14496-15 §8.3.3.1).

    Raises VmsError(PROTOCOL) when a set is missing, or too large or too many for the record.
    """
    if not vps or not sps or not pps:
        raise VmsError(ErrorKind.PROTOCOL, "H.265 needs a video, a sequence and a picture parameter set")
    info = parse_sps(sps[0])
    out = bytearray(b"\x01" + info.profile_tier_level)
    # Spatial segmentation, parallelism and average frame rate are given as unknown; the length size is 4.
    out += bytes((0xF0, 0, 0xFC, 0xFC | info.chroma_format_idc))
    out += bytes((0xF8 | (info.bit_depth_luma - 8) & 7, 0xF8 | (info.bit_depth_chroma - 8) & 7, 0, 0))
    out += bytes((info.temporal_layers << 3 | info.temporal_nesting << 2 | 3, 3))
    for kind, nals in ((NAL_VPS, vps), (NAL_SPS, sps), (NAL_PPS, pps)):
        out.append(0x80 | kind)
        out += len(nals).to_bytes(2, "big")
        for nal in nals:
            if not 0 < len(nal) <= MAX_PARAMETER_SET_BYTES:
                raise VmsError(ErrorKind.PROTOCOL, f"an H.265 parameter set of {len(nal)} bytes")
            out += len(nal).to_bytes(2, "big") + nal
    return bytes(out)


def parameters(vps: Sequence[bytes], sps: Sequence[bytes], pps: Sequence[bytes]) -> VideoParameters:
    """Codec parameters of a stream with these parameter sets. Raises VmsError(PROTOCOL)."""
    record = hvcc(vps, sps, pps)
    info = parse_sps(sps[0])
    return VideoParameters(
        codec=VideoCodec.H265,
        width=info.width,
        height=info.height,
        codec_private=record,
        codec_string=info.codec_string,
        frame_rate=info.frame_rate,
        reorder_frames=info.reorder_frames,
    )


def parameter_sets(codec_private: bytes) -> list[bytes]:
    """The NAL units of a configuration record, in order (VPS, SPS, PPS). Raises VmsError(CORRUPT)."""
    nals: list[bytes] = []
    try:
        position = 23
        for _ in range(codec_private[22]):
            count = codec_private[position + 1] << 8 | codec_private[position + 2]
            position += 3
            for _ in range(count):
                nal, position = record_entry(codec_private, position)
                nals.append(nal)
    except IndexError:
        raise VmsError(ErrorKind.CORRUPT, "the H.265 configuration record is cut short") from None
    return nals


def _skip_sub_layer_profiles(r: BitReader, sub_layers: int) -> None:
    # H.265 §7.3.3: presence flags for the lower layers, padded to eight pairs, then their profiles and levels.
    if sub_layers == 1:
        return
    present = [(r.flag(), r.flag()) for _ in range(sub_layers - 1)]
    r.skip(2 * (9 - sub_layers))
    for profile, level in present:
        r.skip(88 * profile + 8 * level)


def _window(r: BitReader, chroma: int) -> tuple[int, int]:
    left, right, top, bottom = r.ue(), r.ue(), r.ue(), r.ue()
    unit_x = 2 if chroma in {1, 2} else 1
    unit_y = 2 if chroma == 1 else 1
    return (left + right) * unit_x, (top + bottom) * unit_y


def _frame_rate(r: BitReader, poc_bits: int) -> float | None:
    """Walk to the VUI's timing. Vendors break this part of the SPS most often, and only the rate depends on it."""
    try:
        _skip_coding_tools(r, poc_bits)
        return _vui_frame_rate(r) if r.flag() else None
    except VmsError:
        return None


def _skip_coding_tools(r: BitReader, poc_bits: int) -> None:
    for _ in range(6):  # block sizes and transform hierarchy depths
        r.ue()
    if r.flag() and r.flag():  # scaling lists enabled, and present
        _skip_scaling_lists(r)
    r.skip(2)  # amp, sample adaptive offset
    if r.flag():  # pcm
        r.skip(8)
        r.ue()
        r.ue()
        r.skip(1)
    _skip_short_term_sets(r)
    if r.flag():  # long_term_ref_pics_present_flag
        count = r.ue()
        if count > 32:
            raise VmsError(ErrorKind.PROTOCOL, "H.265 with more than 32 long-term references")
        r.skip(count * (poc_bits + 1))
    r.skip(2)  # temporal mvp, strong intra smoothing


def _skip_scaling_lists(r: BitReader) -> None:
    for size in range(4):
        for _ in range(0, 6, 3 if size == 3 else 1):
            if not r.flag():
                r.ue()
                continue
            if size > 1:
                r.se()
            for _ in range(min(64, 1 << (4 + 2 * size))):
                r.se()


def _skip_short_term_sets(r: BitReader) -> None:
    count = r.ue()
    if count > 64:
        raise VmsError(ErrorKind.PROTOCOL, "H.265 with more than 64 reference picture sets")
    pictures = 0  # number of pictures in the set before (NumDeltaPocs, H.265 §7.4.8)
    for index in range(count):
        if index and r.flag():  # predicted from the set before
            r.skip(1)
            r.ue()
            kept = 0
            for _ in range(pictures + 1):
                used = r.flag()
                kept += used or r.flag()
            pictures = kept
        else:
            pictures = r.ue() + r.ue()
            if pictures > 32:
                raise VmsError(ErrorKind.PROTOCOL, "H.265 reference picture set with more than 32 pictures")
            for _ in range(pictures):
                r.ue()
                r.skip(1)


def _vui_frame_rate(r: BitReader) -> float | None:
    """Frame rate of the VUI, None when not declared (H.265 §E.2.1)."""
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
    r.skip(3)  # neutral chroma, field sequence, frame/field information
    if r.flag():  # default_display_window_flag
        for _ in range(4):
            r.ue()
    if not r.flag():  # vui_timing_info_present_flag
        return None
    ticks, scale = r.bits(32), r.bits(32)
    if ticks and scale and 0.01 <= scale / ticks <= 1000:
        return scale / ticks
    return None
