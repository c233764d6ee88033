"""Parameter sets of one stream, from SDP and in-band, and the codec parameters that they make."""

from collections.abc import Iterable

from vms.common.errors import VmsError
from vms.common.stream import VideoCodec, VideoParameters
from vms.media import h264, h265
from vms.media.bits import BitReader, unescape

_H264_KINDS = (h264.NAL_SPS, h264.NAL_PPS)
_H265_KINDS = (h265.NAL_VPS, h265.NAL_SPS, h265.NAL_PPS)
# A stream with more different sets than this is sending garbage; the newest ones are kept.
_MAX_SETS = 16


class ParameterStore:
    """Collects parameter sets; ``take_change`` gives new codec parameters once they are complete and have changed."""

    def __init__(self, codec: VideoCodec) -> None:
        self._codec = codec
        self._kinds = _H264_KINDS if codec is VideoCodec.H264 else _H265_KINDS
        self._sets: dict[int, list[bytes]] = {kind: [] for kind in self._kinds}
        self._changed = False
        self._announced: VideoParameters | None = None

    def update(self, nals: Iterable[bytes]) -> None:
        """Take the parameter sets of one access unit or of the SDP; other NAL units are passed over.

        A new SPS replaces all sets of the kinds that come with it: what is not repeated belongs to the old sequence.
        Without a new SPS the sets add up, since a stream may have several picture parameter sets.
        """
        fresh: dict[int, list[bytes]] = {}
        for nal in nals:
            kind = nal[0] & 0x1F if self._codec is VideoCodec.H264 else nal[0] >> 1 & 0x3F
            if kind in self._sets and nal not in fresh.setdefault(kind, []):
                fresh[kind].append(nal)
        sps_kind = self._kinds[-2]
        sequence_changed = any(nal not in self._sets[sps_kind] for nal in fresh.get(sps_kind, ()))
        for kind, sets in fresh.items():
            if all(nal in self._sets[kind] for nal in sets):
                continue
            self._changed = True
            known = [] if sequence_changed else self._sets[kind]
            by_id = {_picture_set_id(self._codec, kind, nal): nal for nal in (*known, *sets)}
            self._sets[kind] = list(by_id.values())[-_MAX_SETS:]

    def take_change(self) -> VideoParameters | None:
        """Codec parameters if they differ from those taken last; None when unchanged, incomplete or damaged."""
        if not self._changed or not all(self._sets.values()):
            return None
        self._changed = False
        try:
            if self._codec is VideoCodec.H264:
                found = h264.parameters(*self._sets.values())
            else:
                found = h265.parameters(*self._sets.values())
        except VmsError:
            # The camera repeats its parameter sets with every keyframe; a damaged one is no reason to end the session.
            return None
        if found == self._announced:
            return None
        self._announced = found
        return found


def _picture_set_id(codec: VideoCodec, kind: int, nal: bytes) -> tuple[int, bytes | int]:
    """What two versions of the same set share: its kind and id (H.264 §7.3.2.2, H.265 §7.3.2.3)."""
    header_bytes = 1 if codec is VideoCodec.H264 else 2
    if kind not in {h264.NAL_PPS, h265.NAL_PPS}:
        return kind, nal
    try:
        return kind, BitReader(unescape(nal[header_bytes : header_bytes + 8])).ue()
    except VmsError:
        return kind, nal
