"""The client's state machine: the plain handshake, authentication, redirects, refusals, keep-alive, server requests."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.refusals import only_errors
from tests.support.rtsp import SDP, reply

from vms.common.errors import ErrorKind, VmsError
from vms.media.rtsp.client_core import MAX_REDIRECTS, ClientCore, ClientState
from vms.media.rtsp.message import Headers, Request, Response, parse_message
from vms.media.rtsp.url import Credentials, parse_url

PUBLIC = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"
DIGEST = 'Digest realm="r", nonce="{}", qop="auth"'


class Conversation:
    """A core and the last request that it queued."""

    def __init__(self, url: str = "rtsp://cam/stream", credentials: Credentials | None = None) -> None:
        self.core = ClientCore(parse_url(url)[0], credentials)
        self.core.start()

    def state(self) -> ClientState:
        return self.core.state

    def retrying_auth(self) -> bool:
        return self.core.retrying_auth

    def sent(self) -> list[Request | Response]:
        output = self.core.take_output()
        messages, position = [], 0
        while position < len(output):
            parsed = parse_message(output, position, len(output))
            assert parsed is not None
            message, position = parsed
            messages.append(message)
        return messages

    def request(self) -> Request:
        (message,) = self.sent()
        assert isinstance(message, Request)
        return message

    def answer(self, response: Response) -> Request:
        """Give the answer, return the request that follows."""
        self.core.receive(response)
        return self.request()

    def play(self, session: str = "abc;timeout=30", public: str = PUBLIC) -> None:
        """From the start to PLAYING."""
        self.request()
        self.answer(reply(Public=public))
        self.answer(reply(body=SDP))
        self.answer(reply(Transport="RTP/AVP/TCP;unicast;interleaved=0-1", Session=session))
        self.core.receive(reply())
        assert self.state() is ClientState.PLAYING


def test_the_plain_handshake() -> None:
    talk = Conversation()
    request = talk.request()
    assert (request.method, request.uri, request.cseq) == ("OPTIONS", "rtsp://cam/stream", 1)
    request = talk.answer(reply(Public=PUBLIC, Server="Cam/1"))
    assert (request.method, request.uri, request.headers.get("Accept")) == (
        "DESCRIBE",
        "rtsp://cam/stream",
        "application/sdp",
    )
    request = talk.answer(reply(body=SDP))
    assert (request.method, request.uri) == ("SETUP", "rtsp://cam/stream/trackID=1")
    assert request.headers.get("Transport") == "RTP/AVP/TCP;unicast;interleaved=0-1"
    request = talk.answer(reply(Transport="RTP/AVP/TCP;unicast;interleaved=4-5", Session="abc;timeout=30"))
    assert (request.method, request.uri, request.headers.get("Session")) == ("PLAY", "rtsp://cam/stream", "abc")
    assert talk.state() is ClientState.STARTING
    talk.core.receive(reply())
    assert talk.state() is ClientState.PLAYING
    assert (talk.core.channels, talk.core.session_timeout_s, talk.core.server) == ((4, 5), 30, "Cam/1")
    assert talk.core.description is not None


def test_the_content_base_is_what_control_urls_are_relative_to() -> None:
    talk = Conversation()
    talk.request()
    talk.answer(reply())
    request = talk.answer(reply(body=SDP, Content_Base="rtsp://u:secret@cam/base?x=1/"))
    assert request.uri == "rtsp://cam/base?x=1/trackID=1"
    assert talk.answer(reply(Session="a")).uri == "rtsp://cam/base?x=1/"


@pytest.mark.parametrize("base", ["192.0.2.1:554/stream0/", "", "rtsp://two words/"])
def test_a_content_base_that_is_no_url_is_ignored(base: str) -> None:
    talk = Conversation()
    talk.request()
    talk.answer(reply())
    assert talk.answer(reply(body=SDP, Content_Base=base)).uri == "rtsp://cam/stream/trackID=1"


@pytest.mark.parametrize("status", [400, 404, 405, 501, 551])
def test_a_camera_that_refuses_options_is_described_all_the_same(status: int) -> None:
    talk = Conversation()
    talk.request()
    assert talk.answer(reply(status, "no")).method == "DESCRIBE"


# --- authentication -------------------------------------------------------------------------------------


def test_a_challenge_is_answered_with_the_same_request_and_then_unasked() -> None:
    talk = Conversation(credentials=Credentials("u", "p"))
    assert "Authorization" not in talk.request().headers
    again = talk.answer(reply(401, "Unauthorized", WWW_Authenticate=DIGEST.format("n")))
    assert talk.retrying_auth()
    assert again.method == "OPTIONS"
    assert again.cseq == 2
    assert 'nonce="n"' in (again.headers.get("Authorization") or "")
    following = talk.answer(reply(Public=PUBLIC))
    assert not talk.retrying_auth()
    assert "nc=00000002" in (following.headers.get("Authorization") or "")


def test_wrong_credentials_are_told_at_the_second_refusal() -> None:
    talk = Conversation(credentials=Credentials("u", "wrong"))
    talk.request()
    talk.answer(reply(401, WWW_Authenticate=DIGEST.format("a")))
    with pytest.raises(VmsError, match="refuses the user name or password") as caught:
        talk.core.receive(reply(401, WWW_Authenticate=DIGEST.format("b")))
    assert caught.value.kind is ErrorKind.AUTH
    assert "wrong" not in str(caught.value)


def test_missing_credentials_are_asked_for() -> None:
    talk = Conversation()
    with pytest.raises(VmsError, match="set them") as caught:
        talk.core.receive(reply(401, WWW_Authenticate=DIGEST.format("a")))
    assert caught.value.kind is ErrorKind.AUTH


def test_an_unknown_scheme_is_unsupported() -> None:
    talk = Conversation(credentials=Credentials("u", "p"))
    with pytest.raises(VmsError) as caught:
        talk.core.receive(reply(401, WWW_Authenticate="Negotiate"))
    assert caught.value.kind is ErrorKind.UNSUPPORTED


def test_a_stale_nonce_is_replaced_but_not_for_ever() -> None:
    talk = Conversation(credentials=Credentials("u", "p"))
    talk.request()
    talk.answer(reply(401, WWW_Authenticate=DIGEST.format("a")))
    again = talk.answer(reply(401, WWW_Authenticate=DIGEST.format("b") + ", stale=true"))
    assert 'nonce="b"' in (again.headers.get("Authorization") or "")
    with pytest.raises(VmsError) as caught:
        talk.core.receive(reply(401, WWW_Authenticate=DIGEST.format("c") + ", stale=true"))
    assert caught.value.kind is ErrorKind.AUTH


def test_a_nonce_that_expires_without_stale_is_replaced_once() -> None:
    talk = Conversation(credentials=Credentials("u", "p"))
    talk.request()
    talk.answer(reply(401, WWW_Authenticate=DIGEST.format("a")))
    talk.answer(reply(Public=PUBLIC))
    again = talk.answer(reply(401, WWW_Authenticate=DIGEST.format("b")))
    assert again.method == "DESCRIBE"
    with pytest.raises(VmsError) as caught:
        talk.core.receive(reply(401, WWW_Authenticate=DIGEST.format("c")))
    assert caught.value.kind is ErrorKind.AUTH


# --- redirects ------------------------------------------------------------------------------------------


def test_a_redirect_on_the_same_host_keeps_the_credentials() -> None:
    talk = Conversation(credentials=Credentials("u", "p"))
    talk.request()
    talk.answer(reply(401, WWW_Authenticate=DIGEST.format("a")))
    talk.core.receive(reply(302, "Found", Location="rtsp://CAM:8554/other"))
    assert talk.state() is ClientState.REDIRECTED
    assert str(talk.core.url) == "rtsp://cam:8554/other"
    talk.core.start()
    request = talk.request()
    assert request.uri == "rtsp://cam:8554/other"
    assert "Authorization" in request.headers


def test_a_redirect_to_another_host_gets_no_credentials() -> None:
    talk = Conversation(credentials=Credentials("u", "p"))
    talk.request()
    talk.answer(reply(401, WWW_Authenticate=DIGEST.format("a")))
    talk.core.receive(reply(301, Location="rtsp://u:p@evil/other"))
    talk.core.start()
    assert "Authorization" not in talk.request().headers
    with pytest.raises(VmsError) as caught:
        talk.core.receive(reply(401, WWW_Authenticate="Basic"))
    assert caught.value.kind is ErrorKind.AUTH


def test_redirects_are_limited_and_must_lead_to_a_url() -> None:
    talk = Conversation()
    for _ in range(MAX_REDIRECTS):
        talk.core.receive(reply(302, Location="rtsp://cam/again"))
        talk.core.start()
    with pytest.raises(VmsError, match="redirects more") as caught:
        talk.core.receive(reply(302, Location="rtsp://cam/again"))
    assert caught.value.kind is ErrorKind.PROTOCOL
    for answer in (reply(302), reply(302, Location="http://cam/")):
        with pytest.raises(VmsError, match="not an RTSP URL"):
            Conversation().core.receive(answer)


# --- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, ErrorKind.AUTH), (404, ErrorKind.NOT_FOUND), (461, ErrorKind.UNSUPPORTED), (453, ErrorKind.UNAVAILABLE),
        (503, ErrorKind.UNAVAILABLE), (500, ErrorKind.PROTOCOL), (400, ErrorKind.PROTOCOL), (304, ErrorKind.PROTOCOL),
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [1, 2, 3])
def test_refusals_by_kind(status: int, kind: ErrorKind, step: int) -> None:
    talk = Conversation()
    for answer in (reply(), reply(body=SDP), reply(Session="x"))[:step]:
        talk.core.receive(answer)
    with pytest.raises(VmsError) as caught:
        talk.core.receive(reply(status, "Because\x1b I say so"))
    assert caught.value.kind is kind
    assert str(status) in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("transport", "kind"),
    [
        ("RTP/AVP;unicast;client_port=1-2;server_port=3-4", ErrorKind.UNSUPPORTED),
        ("RTP/AVP/TCP;interleaved=300-301", ErrorKind.PROTOCOL),
        ("RTP/AVP/TCP;interleaved=1-1", ErrorKind.PROTOCOL),
    ],
)
def test_transports_that_cannot_be_used(transport: str, kind: ErrorKind) -> None:
    talk = Conversation()
    talk.core.receive(reply())
    talk.core.receive(reply(body=SDP))
    with pytest.raises(VmsError) as caught:
        talk.core.receive(reply(Transport=transport, Session="x"))
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    ("transport", "channels"),
    [("RTP/AVP/TCP;ssrc=1;interleaved=2", (2, 3)), ("RTP/AVP/TCP;unicast", (0, 1)), (None, (0, 1))],
)
def test_transports_that_say_little_are_taken_as_asked(transport: str | None, channels: tuple[int, int]) -> None:
    talk = Conversation()
    talk.core.receive(reply())
    talk.core.receive(reply(body=SDP))
    talk.core.receive(reply(Transport=transport) if transport else reply())
    assert talk.core.channels == channels


# --- while playing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("public", "method"), [(PUBLIC, "GET_PARAMETER"), ("OPTIONS, PLAY", "OPTIONS")])
def test_keep_alive_uses_what_the_server_offers(public: str, method: str) -> None:
    talk = Conversation()
    talk.play(public=public)
    talk.core.keep_alive()
    request = talk.request()
    assert (request.method, request.headers.get("Session")) == (method, "abc")


def test_a_refused_get_parameter_gives_way_to_options() -> None:
    talk = Conversation()
    talk.play()
    talk.core.keep_alive()
    talk.core.receive(reply(451, "Parameter Not Understood"))
    talk.sent()
    talk.core.keep_alive()
    assert talk.request().method == "OPTIONS"


def test_a_lost_session_is_closed() -> None:
    talk = Conversation()
    talk.play()
    talk.core.keep_alive()
    with pytest.raises(VmsError, match="454") as caught:
        talk.core.receive(reply(454, "Session Not Found"))
    assert caught.value.kind is ErrorKind.CLOSED


def test_stray_and_provisional_answers_are_ignored() -> None:
    talk = Conversation()
    talk.core.receive(reply(100, "Continue"))
    assert talk.state() is ClientState.OPTIONS
    talk.play()
    talk.core.receive(reply(500))
    assert talk.state() is ClientState.PLAYING


def test_requests_of_the_server_are_answered() -> None:
    talk = Conversation()
    talk.play()
    for method, status in (("OPTIONS", 200), ("SET_PARAMETER", 200), ("ANNOUNCE", 200), ("RECORD", 501)):
        talk.core.receive(Request(method, "*", Headers([("CSeq", "77"), ("Session", "abc"), ("X", "y")])))
        (answer,) = talk.sent()
        assert isinstance(answer, Response)
        assert (answer.status, answer.cseq, answer.headers.get("X")) == (status, 77, None)


@pytest.mark.parametrize("method", ["TEARDOWN", "REDIRECT"])
def test_a_server_that_ends_the_session_closes_it(method: str) -> None:
    talk = Conversation()
    talk.play()
    with pytest.raises(VmsError, match=method) as caught:
        talk.core.receive(Request(method, "*"))
    assert caught.value.kind is ErrorKind.CLOSED


def test_teardown_is_sent_only_where_there_is_a_session() -> None:
    talk = Conversation()
    talk.request()
    talk.core.teardown()
    assert talk.sent() == []
    talk = Conversation()
    talk.play()
    talk.core.teardown()
    assert talk.request().method == "TEARDOWN"
    talk.core.teardown()
    assert talk.sent() == []


@pytest.mark.parametrize(
    ("session", "timeout"), [("a", 60), ("a;timeout=0", 2), ("  a ; Timeout = 90", 90), ("a;x=y", 60)]
)
def test_the_session_timeout(session: str, timeout: int) -> None:
    talk = Conversation()
    talk.play(session=session)
    assert talk.core.session_timeout_s == timeout
    talk.core.keep_alive()
    assert talk.request().headers.get("Session") == "a"


ANSWERS = st.builds(
    Response,
    st.sampled_from([100, 200, 200, 200, 301, 401, 404, 454]),
    st.just("x"),
    st.lists(
        st.tuples(
            st.sampled_from(["Session", "Transport", "Location", "WWW-Authenticate", "Public", "Content-Base"]),
            st.text(max_size=20) | st.sampled_from(["rtsp://h/p", "Basic", DIGEST.format("n"), "interleaved=3-2"]),
        ),
        max_size=3,
    ).map(Headers),
    st.sampled_from([b"", SDP, b"junk"]),
)
REQUESTS = st.builds(Request, st.sampled_from(["OPTIONS", "TEARDOWN", "X"]), st.just("*"))


@settings(max_examples=150)
@given(st.lists(ANSWERS | REQUESTS, max_size=8), st.none() | st.just(Credentials("u", "p")))
def test_any_conversation_ends_in_nothing_but_documented_errors(
    messages: list[Request | Response], credentials: Credentials | None
) -> None:
    talk = Conversation(credentials=credentials)
    with only_errors(*ErrorKind):
        for message in messages:
            talk.core.receive(message)
            if talk.state() is ClientState.REDIRECTED:
                talk.core.start()
            talk.core.keep_alive()
        talk.core.teardown()
        talk.sent()
