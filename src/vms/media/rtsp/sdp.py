"""SDP as cameras write it: finds the video stream, its codec, payload type, control URL and parameter sets.

Only what the client needs is read (RFC 8866, RFC 6184 §8.2, RFC 7798 §7.1). Cameras break almost every other line, so
unknown or malformed lines are passed over; what the client cannot do without is checked.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec
from vms.media.rtsp.message import printable

MAX_SDP_BYTES: Final = 64 * 1024
_MAX_MEDIA: Final = 64
_CODECS: Final = {"h264": VideoCodec.H264, "h265": VideoCodec.H265, "hevc": VideoCodec.H265}
# Formats that cameras offer by number alone (RFC 3551 §6), for the message.
_STATIC_NAMES: Final = {26: "JPEG", 31: "H.261", 32: "MPEG-2 video", 33: "MPEG-TS", 34: "H.263"}
_RTPMAP: Final = re.compile(r"\s*(\d{1,3})\s+([^/\s]+)\s*/\s*(\d{1,9})")
_FMTP: Final = re.compile(r"\s*(\d{1,3})\s+(.*)")
_START_CODE: Final = b"\x00\x00\x01"


@dataclass(frozen=True, slots=True)
class VideoMedia:
    """The video stream that the client will set up.

    ``control`` is the media's control attribute as written, None when absent; ``parameter_sets`` are the NAL units of
    the sprop attributes in order (VPS, SPS, PPS), empty when the camera gives none or damaged ones.
    """

    codec: VideoCodec
    payload_type: int
    control: str | None
    parameter_sets: tuple[bytes, ...]
    frame_rate: float | None


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A description: ``control`` is the aggregate control attribute; ``video`` the first usable video stream."""

    control: str | None
    video: VideoMedia


@dataclass(slots=True)
class _Media:
    kind: str
    protocol: str
    payload_types: list[int]
    attributes: list[tuple[str, str]] = field(default_factory=list)

    def first(self, name: str) -> str | None:
        return next((value for key, value in self.attributes if key == name), None)


def parse_sdp(body: bytes) -> SessionDescription:
    """Find the first video stream of a supported codec.

    Raises VmsError(PROTOCOL) when the text is no SDP, VmsError(UNSUPPORTED) when it offers no video that can be
    recorded; the message names what it offers.
    """
    session, media = _split(body)
    if not media:
        raise VmsError(ErrorKind.PROTOCOL, "the camera's description (SDP) names no stream")
    offered: list[str] = []
    for entry in media:
        if entry.kind != "video":
            continue
        video, names = _usable_video(entry)
        if video is not None:
            return SessionDescription(control=_control(session), video=video)
        offered += names
    if not offered:
        raise VmsError(ErrorKind.UNSUPPORTED, "the camera offers no video on this URL")
    names_text = printable(", ".join(dict.fromkeys(offered)), 80)
    raise VmsError(
        ErrorKind.UNSUPPORTED, f"the camera offers {names_text}: set its encoder to H.264 or H.265", offered=names_text
    )


def _split(body: bytes) -> tuple[_Media, list[_Media]]:
    if len(body) > MAX_SDP_BYTES:
        raise VmsError(ErrorKind.PROTOCOL, "the camera's description (SDP) is larger than 64 KB")
    session = _Media("", "", [])
    media: list[_Media] = []
    recognised = False
    for line in re.split(r"[\r\n]+", body.decode("utf-8", "replace")):
        name, equals, value = line.strip().partition("=")
        if not equals or len(name) != 1:
            continue
        recognised = recognised or name in "vosm"
        if name == "m":
            if len(media) == _MAX_MEDIA:
                raise VmsError(ErrorKind.PROTOCOL, "the camera's description (SDP) names more than 64 streams")
            media.append(_parse_media(value))
        elif name == "a":
            key, _, text = value.partition(":")
            (media[-1] if media else session).attributes.append((key.strip().lower(), text.strip()))
    if not recognised:
        raise VmsError(ErrorKind.PROTOCOL, "the camera's description is not SDP")
    return session, media


def _parse_media(value: str) -> _Media:
    words = value.split()
    kind = words[0].lower() if words else ""
    protocol = words[2].upper() if len(words) > 2 else ""
    payload_types = [int(w) for w in words[3:] if w.isascii() and w.isdigit() and len(w) <= 3 and int(w) < 128]
    return _Media(kind, protocol, payload_types)


def _usable_video(media: _Media) -> tuple[VideoMedia | None, list[str]]:
    """The media's first format of a supported codec, and the names of what it offers otherwise."""
    names: list[str] = []
    maps = {int(m[1]): (m[2], int(m[3])) for _, text in _named(media, "rtpmap") if (m := _RTPMAP.match(text))}
    for payload_type in media.payload_types:
        name, clock_rate = maps.get(payload_type, (_STATIC_NAMES.get(payload_type, f"payload type {payload_type}"), 0))
        codec = _CODECS.get(name.lower())
        parameters = _format_parameters(media, payload_type)
        if codec is None:
            names.append(name)
        elif not media.protocol.startswith("RTP/AVP"):
            names.append(f"{name} over {media.protocol}")
        elif clock_rate != 90000:
            names.append(f"{name} with a clock of {clock_rate} Hz")
        elif parameters.get("packetization-mode") == "2" or parameters.get("sprop-max-don-diff", "0") != "0":
            names.append(f"{name} in interleaved packetisation")
        else:
            sets = _parameter_sets(codec, parameters)
            return VideoMedia(codec, payload_type, _control(media), sets, _frame_rate(media)), []
    return None, names or [media.protocol or "an unnamed format"]


def _named(media: _Media, name: str) -> list[tuple[str, str]]:
    return [pair for pair in media.attributes if pair[0] == name]


def _control(media: _Media) -> str | None:
    # The last one counts: devices that write an aggregate URL first put the media's own behind it. Spaces cannot be
    # sent in a request line.
    values = [text for _, text in _named(media, "control") if text and text.isprintable() and " " not in text]
    return values[-1] if values else None


def _format_parameters(media: _Media, payload_type: int) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for _, text in _named(media, "fmtp"):
        match = _FMTP.match(text)
        if match and int(match[1]) == payload_type:
            for item in match[2].split(";"):
                key, equals, value = item.partition("=")
                if equals:
                    parameters[key.strip().lower()] = value.strip()
    return parameters


def _parameter_sets(codec: VideoCodec, parameters: dict[str, str]) -> tuple[bytes, ...]:
    if codec is VideoCodec.H264:
        texts = parameters.get("sprop-parameter-sets", "").split(",")
    else:
        texts = [t for kind in ("vps", "sps", "pps") for t in parameters.get(f"sprop-{kind}", "").split(",")]
    return tuple(nal for text in texts if (nal := _decode_set(text)))


def _decode_set(text: str) -> bytes:
    """One NAL unit in base64; padding may be missing, and start codes may stand around it."""
    text = text.strip().rstrip("=")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
    parts = [part for part in raw.split(_START_CODE) if part.strip(b"\x00")]
    return parts[0].rstrip(b"\x00") if parts else b""


def _frame_rate(media: _Media) -> float | None:
    for _, text in _named(media, "framerate"):
        try:
            rate = float(text)
        except ValueError:
            continue
        if 0 < rate <= 1000:
            return rate
    return None
