"""The server's side of one RTSP/1.0 connection, sans-I/O (RFC 2326): bytes in, actions out, replies made here.

The shell feeds what it received and then takes one action after another, doing each before it asks for the next, so
that pipelined requests meet the state their predecessors left. Media goes over the connection itself (interleaved,
§10.12); a client that asks for UDP is told 461 and comes back with TCP, as all players do.
"""

import base64
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import unquote, urlsplit

from vms.common.errors import VmsError
from vms.common.stream import VideoCodec
from vms.media import h264, h265
from vms.media.rtsp.feed import Frame, StreamDescription
from vms.media.rtsp.message import Headers, Request, Response, parse_message
from vms.media.rtsp.server_auth import DigestVerifier

SESSION_TIMEOUT_SECONDS: Final = 60
MAX_AUTH_FAILURES: Final = 5

_TRACK: Final = "trackID=0"
_METHODS: Final = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "GET_PARAMETER", "SET_PARAMETER", "TEARDOWN")
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    406: "Not Acceptable",
    451: "Parameter Not Understood",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    459: "Aggregate Operation Not Allowed",
    461: "Unsupported Transport",
    501: "Not Implemented",
    503: "Service Unavailable",
    551: "Option Not Supported",
}


class ServerState(Enum):
    """State of the session (RFC 2326 appendix A.2)."""

    INIT = "init"
    READY = "ready"
    PLAYING = "playing"


@dataclass(frozen=True, slots=True)
class Reply:
    """Send these bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Describe:
    """Look the path up and send ``describe_reply``."""

    request: Request
    path: str


@dataclass(frozen=True, slots=True)
class Setup:
    """Look the path up and send ``setup_reply``."""

    request: Request
    path: str


@dataclass(frozen=True, slots=True)
class Play:
    """Subscribe to the path, send ``play_reply`` and then the frames."""

    request: Request
    path: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End the subscription, then send these bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class HangUp:
    """Send these bytes, then close the connection."""

    data: bytes


Action = Reply | Describe | Setup | Play | Stop | HangUp


class ServerCore:
    """One connection, which holds at most one session of one stream."""

    def __init__(self, *, session_id: str, verifier: DigestVerifier | None = None) -> None:
        self.state = ServerState.INIT
        self.rtp_channel = 0
        self.rtcp_channel = 1
        self._session_id = session_id
        self._verifier = verifier
        self._auth_failures = 0
        self._path = ""
        self._buffer = bytearray()
        self._skip = 0  # bytes of an interleaved packet that are still to come
        self._closed = False

    def feed(self, data: bytes) -> None:
        """Add bytes from the client; memory stays bounded because broken input ends the connection."""
        if not self._closed:
            self._buffer += data

    def next_action(self) -> Action | None:
        """What to do next, None when more bytes are needed."""
        buffer = self._buffer
        while not self._closed:
            if self._skip:
                skipped = min(self._skip, len(buffer))
                del buffer[:skipped]
                self._skip -= skipped
            if buffer and buffer[0] in b"\r\n":  # clients send blank lines to keep the connection alive
                del buffer[: len(buffer) - len(buffer.lstrip(b"\r\n"))]
            if not buffer:
                return None
            if buffer[0] == 0x24:  # '$': the client's RTCP, which a sender of recorded-as-is video has no use for
                if len(buffer) < 4:
                    return None
                self._skip = 4 + (buffer[2] << 8 | buffer[3])
                continue
            try:
                parsed = parse_message(buffer, 0, len(buffer))
            except VmsError:
                return self._hang_up(_encode(400, Headers()))
            if parsed is None:
                return None
            message, end = parsed
            del buffer[:end]
            if isinstance(message, Request):  # a response answers nothing: this server sends no requests
                return self._request(message)
        return None

    def describe_reply(self, request: Request, description: StreamDescription | None) -> bytes:
        """Answer a DESCRIBE; 404 without a description."""
        if description is None:
            return self._reply(request, 404)
        base = _base_uri(request.uri) + "/"
        sdp = session_description(description, self._session_id)
        return self._reply(
            request, 200, ("Content-Base", base), ("Content-Type", "application/sdp"), body=sdp.encode("utf-8")
        )

    def setup_reply(self, request: Request, path: str, description: StreamDescription | None) -> bytes:
        """Answer a SETUP, which makes the session; 404 without a description, 461 for any transport but TCP."""
        if description is None:
            return self._reply(request, 404)
        channels = _interleaved_channels(request.headers.get("Transport") or "")
        if channels is None:
            return self._reply(request, 461)
        self.rtp_channel, self.rtcp_channel = channels
        self._path = path
        self.state = ServerState.READY
        transport = f"RTP/AVP/TCP;unicast;interleaved={channels[0]}-{channels[1]};ssrc={description.ssrc:08X}"
        return self._reply(request, 200, ("Transport", transport), self._session_header())

    def play_reply(self, request: Request, first: Frame | None, *, found: bool = True) -> bytes:
        """Answer a PLAY. ``first`` is the frame that will be sent first, None when that is not known yet."""
        if not found:
            return self._reply(request, 404)
        self.state = ServerState.PLAYING
        info = f"url={_base_uri(request.uri)}/{_TRACK}"
        if first is not None:
            info += f";seq={first.sequence & 0xFFFF};rtptime={first.rtp_timestamp & 0xFFFFFFFF}"
        return self._reply(request, 200, self._session_header(), ("Range", "npt=now-"), ("RTP-Info", info))

    def _request(self, request: Request) -> Action:
        if request.cseq is None:
            return self._hang_up(_encode(400, Headers()))
        if required := request.headers.get("Require"):
            return Reply(self._reply(request, 551, ("Unsupported", required)))
        if request.method == "OPTIONS":
            return Reply(self._reply(request, 200, ("Public", ", ".join(_METHODS))))
        if (refusal := self._check_credentials(request)) is not None:
            return refusal
        if request.method not in _METHODS:
            return Reply(self._reply(request, 501))
        path, is_track = _split_path(request.uri)
        if request.method == "DESCRIBE":
            return self._describe(request, path)
        given = (request.headers.get("Session") or "").split(";")[0].strip()
        if given and (given != self._session_id or self.state is ServerState.INIT):
            return Reply(self._reply(request, 454))
        if request.method == "SETUP":
            return self._setup(request, path, is_track=is_track)
        if request.method in {"GET_PARAMETER", "SET_PARAMETER"}:
            return Reply(self._reply(request, 451 if request.body.strip() else 200, *self._session_headers()))
        return self._session_request(request, path, has_session=bool(given))

    def _describe(self, request: Request, path: str) -> Action:
        accepted = request.headers.get("Accept") or "*/*"
        if not any(kind in accepted for kind in ("application/sdp", "application/*", "*/*")):
            return Reply(self._reply(request, 406))
        return Describe(request, path)

    def _setup(self, request: Request, path: str, *, is_track: bool) -> Action:
        if self.state is ServerState.PLAYING:
            return Reply(self._reply(request, 455))
        if not is_track or (self.state is ServerState.READY and path != self._path):
            return Reply(self._reply(request, 459))
        return Setup(request, path)

    def _session_request(self, request: Request, path: str, *, has_session: bool) -> Action:
        """PLAY and TEARDOWN."""
        if self.state is ServerState.INIT:
            return Reply(self._reply(request, 455))
        if not has_session:
            return Reply(self._reply(request, 454))
        if path != self._path:
            return Reply(self._reply(request, 404))
        if request.method == "TEARDOWN":
            self.state = ServerState.INIT
            return Stop(self._reply(request, 200))
        if self.state is ServerState.PLAYING:
            return Reply(self._reply(request, 200, self._session_header(), ("Range", "npt=now-")))
        return Play(request, path)

    def _check_credentials(self, request: Request) -> Action | None:
        if self._verifier is None:
            return None
        authorization = request.headers.get("Authorization")
        if self._verifier.accepts(request.method, request.uri, authorization):
            return None
        refusal = self._reply(request, 401, ("WWW-Authenticate", self._verifier.challenge()))
        self._auth_failures += authorization is not None
        return self._hang_up(refusal) if self._auth_failures >= MAX_AUTH_FAILURES else Reply(refusal)

    def _hang_up(self, data: bytes) -> HangUp:
        self._closed = True
        self._buffer.clear()
        return HangUp(data)

    def _session_header(self) -> tuple[str, str]:
        return "Session", f"{self._session_id};timeout={SESSION_TIMEOUT_SECONDS}"

    def _session_headers(self) -> list[tuple[str, str]]:
        return [] if self.state is ServerState.INIT else [self._session_header()]

    @staticmethod
    def _reply(request: Request, status: int, *headers: tuple[str, str], body: bytes = b"") -> bytes:
        return _encode(status, Headers([("CSeq", str(request.cseq)), ("Server", "vms"), *headers]), body)


def refusal(status: int) -> bytes:
    """A reply to a connection whose requests are not read."""
    return _encode(status, Headers())


def session_description(description: StreamDescription, session_id: str) -> str:
    """The SDP of one stream (RFC 4566; fmtp per RFC 6184 §8.1 and RFC 7798 §7.1)."""
    payload_type = description.payload_type
    parameters = description.parameters
    name = "H264" if parameters.codec is VideoCodec.H264 else "H265"
    number = int.from_bytes(session_id.encode()[:7], "big")
    lines = [
        "v=0",
        f"o=- {number} 1 IN IP4 127.0.0.1",
        f"s={description.title}",
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
        f"m=video 0 RTP/AVP {payload_type}",
        "c=IN IP4 0.0.0.0",
        f"a=rtpmap:{payload_type} {name}/{description.clock_rate}",
        f"a=fmtp:{payload_type} {_format_parameters(description)}",
    ]
    if parameters.frame_rate:
        lines.append(f"a=framerate:{parameters.frame_rate:g}")
    lines += [f"a=framesize:{payload_type} {parameters.width}-{parameters.height}", f"a=control:{_TRACK}", ""]
    return "\r\n".join(lines)


def _format_parameters(description: StreamDescription) -> str:
    private = description.parameters.codec_private
    if description.parameters.codec is VideoCodec.H264:
        sets = ",".join(base64.b64encode(nal).decode() for nal in h264.parameter_sets(private))
        return f"packetization-mode=1;profile-level-id={private[1:4].hex().upper()};sprop-parameter-sets={sets}"
    names = {h265.NAL_VPS: "sprop-vps", h265.NAL_SPS: "sprop-sps", h265.NAL_PPS: "sprop-pps"}
    sets_of: dict[str, list[str]] = {}
    for nal in h265.parameter_sets(private):
        if name := names.get(h265.nal_type(nal)):
            sets_of.setdefault(name, []).append(base64.b64encode(nal).decode())
    return ";".join(f"{name}={','.join(values)}" for name, values in sets_of.items())


def _encode(status: int, headers: Headers, body: bytes = b"") -> bytes:
    return Response(status, _REASONS[status], headers, body).encode()


def _base_uri(uri: str) -> str:
    return uri.partition("?")[0].rstrip("/").removesuffix(f"/{_TRACK}")


def _split_path(uri: str) -> tuple[str, bool]:
    """The stream's path, and whether the URI names its track."""
    try:
        path = unquote(urlsplit(uri).path).strip("/")
    except ValueError:
        return "", False
    stream = path.removesuffix(f"/{_TRACK}")
    return stream, stream != path


def _interleaved_channels(transport: str) -> tuple[int, int] | None:
    """RTP and RTCP channel of the first offer that this server can serve (RFC 2326 §12.39)."""
    for offer in transport.split(","):
        fields = [part.strip() for part in offer.split(";")]
        if fields[0].upper() != "RTP/AVP/TCP" or "multicast" in fields:
            continue
        values = dict(part.split("=", 1) for part in fields if "=" in part)
        if "interleaved" not in values:
            return 0, 1
        low, _, high = values["interleaved"].partition("-")
        if not (low.isascii() and low.isdigit() and len(low) < 4):
            continue
        rtp = int(low)
        rtcp = int(high) if high.isascii() and high.isdigit() and len(high) < 4 else rtp + 1
        if rtp < 255 and rtcp < 256 and rtp != rtcp:
            return rtp, rtcp
    return None
