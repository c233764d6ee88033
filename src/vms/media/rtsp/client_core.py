"""RTSP client as a state machine without I/O: messages in, bytes out (RFC 2326, RTP over the same connection §10.12).

OPTIONS → DESCRIBE → SETUP (video only, TCP interleaved) → PLAY → keep-alive … TEARDOWN. The shell sends what
``take_output`` returns, hands every message to ``receive`` and looks at ``state``.
"""

import re
from enum import Enum, auto
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.media.rtsp.auth import Authenticator
from vms.media.rtsp.message import Headers, Request, Response, printable
from vms.media.rtsp.sdp import SessionDescription, parse_sdp
from vms.media.rtsp.url import CameraUrl, Credentials, parse_url, resolve_control, strip_credentials

USER_AGENT: Final = "VMS-Enterprise"
DEFAULT_SESSION_TIMEOUT_S: Final = 60
MAX_REDIRECTS: Final = 3
MAX_AUTH_TRIES: Final = 2  # one for the challenge, one for a nonce that went stale meanwhile
_INTERLEAVED: Final = re.compile(r"interleaved\s*=\s*(\d{1,3})(?:\s*-\s*(\d{1,3}))?", re.IGNORECASE)
_SESSION_TIMEOUT: Final = re.compile(r"timeout\s*=\s*(\d{1,6})", re.IGNORECASE)
_REDIRECTS: Final = frozenset({300, 301, 302, 303, 305, 307, 308})
_MEDIA_TRANSPORT: Final = "RTP/AVP/TCP;unicast;interleaved=0-1"
# What a server may ask of its client during a session and gets a plain "yes" for.
_ANSWERED: Final = frozenset({"OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "ANNOUNCE"})


class ClientState(Enum):
    """How far the session is."""

    IDLE = auto()
    OPTIONS = auto()
    DESCRIBE = auto()
    SETUP = auto()
    STARTING = auto()  # SETUP is answered, PLAY is sent: media may arrive from here on
    PLAYING = auto()
    REDIRECTED = auto()  # connect to ``url``, then call start() again
    CLOSED = auto()


class ClientCore:
    """One session with one camera. ``start`` may be called again on a new connection: it keeps what was learnt."""

    def __init__(self, url: CameraUrl, credentials: Credentials | None) -> None:
        self.url = url
        self.state = ClientState.IDLE
        self.description: SessionDescription | None = None
        self.channels = (0, 1)  # interleaved channels of RTP and RTCP
        self.session_timeout_s = DEFAULT_SESSION_TIMEOUT_S
        self.server: str | None = None
        self._authenticator = Authenticator(credentials) if credentials else None
        self._auth_proven = False  # the present challenge has been answered to the server's content
        self._auth_tries = 0  # 401 replies in a row
        self._output = bytearray()
        self._cseq = 0
        self._pending: Request | None = None
        self._session_id: str | None = None
        self._public: frozenset[str] = frozenset()
        self._base = str(url)
        self._redirects = 0

    def start(self) -> None:
        """Begin the handshake on a fresh connection."""
        self._output.clear()
        self._session_id = None
        self._base = str(self.url)
        self._send("OPTIONS", str(self.url), ClientState.OPTIONS)

    @property
    def retrying_auth(self) -> bool:
        """Whether the last reply was a challenge, whose answer is on its way. Some servers close behind a challenge."""
        return self._auth_tries > 0

    def take_output(self) -> bytes:
        """Bytes to send now."""
        output = bytes(self._output)
        self._output.clear()
        return output

    def receive(self, message: Request | Response) -> None:
        """Take a message of the server. Raises VmsError when the session cannot go on."""
        if isinstance(message, Request):
            self._answer(message)
            return
        if message.status < 200 or self._pending is None:  # provisional, or an answer to nothing of ours
            return
        request, self._pending = self._pending, None
        self.server = message.headers.get("Server") or self.server
        if message.status == 401:
            self._authenticate(request, message)
            return
        self._auth_tries = 0
        if "Authorization" in request.headers:
            self._auth_proven = True
        if message.status in _REDIRECTS and self.state in {ClientState.OPTIONS, ClientState.DESCRIBE}:
            self._redirect(message)
        elif self.state is ClientState.OPTIONS:
            self._options_done(message)
        elif self.state is ClientState.PLAYING:
            self._keep_alive_done(request, message)
        elif message.status >= 300:
            raise _refused(request, message)
        elif self.state is ClientState.DESCRIBE:
            self._describe_done(message)
        elif self.state is ClientState.SETUP:
            self._setup_done(message)
        elif self.state is ClientState.STARTING:
            self._read_session(message)
            self.state = ClientState.PLAYING

    def keep_alive(self) -> None:
        """Queue a keep-alive: GET_PARAMETER where the server offers it, else OPTIONS."""
        if self.state is ClientState.PLAYING:
            method = "GET_PARAMETER" if "GET_PARAMETER" in self._public else "OPTIONS"
            self._send(method, self._aggregate_url(), ClientState.PLAYING)

    def teardown(self) -> None:
        """Queue TEARDOWN if there is a session; its answer need not be awaited."""
        if self.state in {ClientState.STARTING, ClientState.PLAYING}:
            self._send("TEARDOWN", self._aggregate_url(), ClientState.CLOSED)
        self.state = ClientState.CLOSED

    # --- replies ----------------------------------------------------------------------------------------

    def _options_done(self, reply: Response) -> None:
        # Cameras that refuse OPTIONS but stream well exist: only DESCRIBE decides.
        methods = ",".join(reply.headers.get_all("Public")).split(",")
        self._public = frozenset(method.strip().upper() for method in methods)
        self._send("DESCRIBE", str(self.url), ClientState.DESCRIBE, ("Accept", "application/sdp"))

    def _describe_done(self, reply: Response) -> None:
        self.description = parse_sdp(reply.body)
        for name in ("Content-Base", "Content-Location"):
            base = reply.headers.get(name) or ""
            if base[:7].lower() == "rtsp://" and " " not in base and base.isprintable():
                self._base = strip_credentials(base)
                break
        url = resolve_control(self._base, self.description.video.control)
        self._send("SETUP", url, ClientState.SETUP, ("Transport", _MEDIA_TRANSPORT))

    def _setup_done(self, reply: Response) -> None:
        transport = reply.headers.get("Transport") or ""
        match = _INTERLEAVED.search(transport)
        if match:
            rtp = int(match[1])
            rtcp = int(match[2]) if match[2] else rtp + 1
            if rtp > 255 or rtcp > 255 or rtp == rtcp:
                raise VmsError(ErrorKind.PROTOCOL, f"the camera chose channels {rtp} and {rtcp}, which do not exist")
            self.channels = (rtp, rtcp)
        elif transport and "TCP" not in transport.upper():
            raise VmsError(ErrorKind.UNSUPPORTED, "the camera sends RTP over UDP only: enable RTP over TCP on it")
        self._read_session(reply)
        self._send("PLAY", self._aggregate_url(), ClientState.STARTING, ("Range", "npt=0.000-"))

    def _keep_alive_done(self, request: Request, reply: Response) -> None:
        if reply.status == 454:
            raise VmsError(ErrorKind.CLOSED, "the camera has ended the session (454 Session Not Found)")
        if reply.status >= 400 and request.method == "GET_PARAMETER":
            self._public -= {"GET_PARAMETER"}

    def _read_session(self, reply: Response) -> None:
        value = reply.headers.get("Session")
        if value is None:
            return
        identifier, _, options = value.partition(";")
        self._session_id = identifier.strip()
        if match := _SESSION_TIMEOUT.search(options):
            self.session_timeout_s = max(2, int(match[1]))

    def _redirect(self, reply: Response) -> None:
        self._redirects += 1
        if self._redirects > MAX_REDIRECTS:
            raise VmsError(ErrorKind.PROTOCOL, f"the camera redirects more than {MAX_REDIRECTS} times")
        try:
            url, _ = parse_url(reply.headers.get("Location") or "")
        except VmsError:
            raise VmsError(ErrorKind.PROTOCOL, "the camera redirects to something that is not an RTSP URL") from None
        if url.host.lower() != self.url.host.lower():
            self._authenticator = None  # credentials are for the host that they were given for
        self._auth_proven = False
        self.url = url
        self.state = ClientState.REDIRECTED

    def _authenticate(self, request: Request, reply: Response) -> None:
        if self._authenticator is None:
            raise VmsError(ErrorKind.AUTH, "the camera asks for a user name and password: set them")
        answered = "Authorization" in request.headers
        challenge = self._authenticator.accept(reply.headers.get_all("WWW-Authenticate"))
        if challenge is None:
            raise VmsError(ErrorKind.UNSUPPORTED, "the camera asks for an authentication other than Basic or Digest")
        # A nonce that was good before may expire; some cameras do not say stale=true then.
        if answered and not challenge.stale and not self._auth_proven:
            raise VmsError(ErrorKind.AUTH, "the camera refuses the user name or password")
        if self._auth_tries == MAX_AUTH_TRIES:
            raise VmsError(ErrorKind.AUTH, "the camera refuses every answer to its challenge")
        self._auth_proven = False
        self._auth_tries += 1
        self._queue(request.method, request.uri, request.headers.without("Authorization"))

    def _answer(self, request: Request) -> None:
        if request.method in {"TEARDOWN", "REDIRECT"}:
            raise VmsError(ErrorKind.CLOSED, f"the camera has ended the session ({request.method})")
        known = request.method in _ANSWERED
        headers = Headers((name, value) for name, value in request.headers if name.lower() in {"cseq", "session"})
        self._output += Response(200 if known else 501, "OK" if known else "Not Implemented", headers).encode()

    # --- requests ---------------------------------------------------------------------------------------

    def _aggregate_url(self) -> str:
        assert self.description is not None
        return resolve_control(self._base, self.description.control)

    def _send(self, method: str, uri: str, state: ClientState, *extra: tuple[str, str]) -> None:
        session = [("Session", self._session_id)] if self._session_id else []
        self._queue(method, uri, Headers([*extra, *session]))
        self.state = state

    def _queue(self, method: str, uri: str, headers: Headers) -> None:
        self._cseq += 1
        headers = Headers(
            [("CSeq", str(self._cseq)), ("User-Agent", USER_AGENT), *headers.without("CSeq").without("User-Agent")]
        )
        if self._authenticator and (authorization := self._authenticator.header(method, uri)):
            headers = headers.replaced("Authorization", authorization)
        self._pending = Request(method, uri, headers)
        self._output += self._pending.encode()


def _refused(request: Request, reply: Response) -> VmsError:
    """The error for a status of 300 and above."""
    said = f"{request.method}: {reply.status} {printable(reply.reason, 60)}".rstrip()
    context = {"method": request.method, "status": reply.status}
    if reply.status == 403:
        return VmsError(ErrorKind.AUTH, f"the camera forbids this user to watch ({said})", **context)
    if reply.status == 404:
        return VmsError(ErrorKind.NOT_FOUND, f"the camera has no such stream ({said}): check the URL's path", **context)
    if reply.status == 461:
        return VmsError(
            ErrorKind.UNSUPPORTED, f"the camera refuses RTP over TCP ({said}): enable it on the camera", **context
        )
    if reply.status == 453:
        return VmsError(
            ErrorKind.UNAVAILABLE, f"the camera has no bandwidth left ({said}): close other viewers", **context
        )
    if reply.status == 503:
        return VmsError(ErrorKind.UNAVAILABLE, f"the camera is busy ({said}): close other viewers", **context)
    return VmsError(ErrorKind.PROTOCOL, f"the camera refuses ({said})", **context)
