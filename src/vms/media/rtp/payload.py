"""RTP payload formats of H.264 (RFC 6184) and H.265 (RFC 7798): from payloads to NAL units."""

from collections.abc import Callable
from typing import Final

from vms.common.stream import VideoCodec
from vms.media.rtp.receive import InterleavedReceiver
from vms.media.rtp.units import UnitBuilder
from vms.media.rtsp.message import Request, Response


class H264Receiver(InterleavedReceiver):
    """Payload format of RFC 6184, single NAL unit and non-interleaved mode."""

    __slots__ = ()

    _fragment_header = 2
    _kind_mask = 0x1F
    _picture_kinds = 0x3E

    def _payload(self, start: int, end: int) -> None:
        buffer = self._buffer
        indicator = buffer[start]
        kind = indicator & 0x1F
        if kind == 28 and end - start > 2:
            fragment = buffer[start + 1]
            word = indicator << 8 | fragment & 0x1F
            if word == self._fragment_word and not fragment & 0x80:
                self._parts.append(bytes(self._view[start + 2 : end]))
            elif fragment & 0x80:
                self._open_fragments(indicator & 0xE0 | fragment & 0x1F, word, bytes(self._view[start + 2 : end]))
            else:
                self._drop_fragments()
                self._corrupt = True
                return
            if fragment & 0x40:
                self._close_fragments(fragment & 0x1F)
            return
        if self._fragment_at >= 0:
            self._drop_fragments()
        if 1 <= kind <= 23:
            if kind != 9:  # access unit delimiters say nothing that the container does not
                self._whole(bytes(self._view[start:end]), kind)
        elif kind == 24:
            position = start + 1
            while position + 2 < end:
                nal = position + 2
                position = nal + (buffer[position] << 8 | buffer[position + 1])
                if position > end:
                    self._corrupt = True
                    return
                if position > nal and (kind := buffer[nal] & 0x1F) != 9:
                    self._whole(bytes(self._view[nal:position]), kind)
        else:
            # Interleaved modes carry data that is lost here; types without a meaning are passed over (RFC 6184 §5.2).
            self.ignored_packets += 1
            self._corrupt = self._corrupt or kind in {25, 26, 27, 29}


class H265Receiver(InterleavedReceiver):
    """Payload format of RFC 7798, without decoding order numbers."""

    __slots__ = ()

    _fragment_header = 3
    _kind_mask = 0x3F
    _picture_kinds = 0xFFFFFFFF

    def _payload(self, start: int, end: int) -> None:
        buffer = self._buffer
        if end - start < 3:
            self.ignored_packets += 1
            return
        header = buffer[start] << 8 | buffer[start + 1]
        kind = header >> 9 & 0x3F
        if kind == 49:
            fragment = buffer[start + 2]
            word = header << 8 | fragment & 0x3F
            if fragment & 0x80:
                nal_header = header & 0x81FF | (fragment & 0x3F) << 9
                self._open_fragments(nal_header, word, bytes(self._view[start + 3 : end]))
            elif word == self._fragment_word:
                self._parts.append(bytes(self._view[start + 3 : end]))
            else:
                self._drop_fragments()
                self._corrupt = True
                return
            if fragment & 0x40:
                self._close_fragments(fragment & 0x3F)
            return
        if self._fragment_at >= 0:
            self._drop_fragments()
        if kind < 48:
            if kind != 35:
                self._whole(bytes(self._view[start:end]), kind)
        elif kind == 48:
            position = start + 2
            while position + 2 < end:
                nal = position + 2
                position = nal + (buffer[position] << 8 | buffer[position + 1])
                if position > end:
                    self._corrupt = True
                    return
                if position > nal + 1 and (kind := buffer[nal] >> 1 & 0x3F) != 35:
                    self._whole(bytes(self._view[nal:position]), kind)
        else:
            # PACI (RFC 7798 §4.4.4) wraps a payload that is lost here; types above have no meaning.
            self.ignored_packets += 1
            self._corrupt = self._corrupt or kind == 50


_RECEIVERS: Final[dict[VideoCodec, type[InterleavedReceiver]]] = {
    VideoCodec.H264: H264Receiver,
    VideoCodec.H265: H265Receiver,
}


def make_receiver(
    codec: VideoCodec,
    *,
    payload_type: int,
    channels: tuple[int, int],
    builder: UnitBuilder,
    on_message: Callable[[Request | Response], None],
) -> InterleavedReceiver:
    """The receiver of a stream; ``channels`` are the interleaved channels of RTP and RTCP."""
    return _RECEIVERS[codec](payload_type=payload_type, channels=channels, builder=builder, on_message=on_message)
