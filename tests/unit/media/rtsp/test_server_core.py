"""The server's core: every reply of RFC 2326 that it gives, and bytes of any kind."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.rtsp_viewer import DESCRIPTION, PPS, SPS, ManualSource

from vms.common.stream import VideoCodec, VideoParameters
from vms.media import h265
from vms.media.rtsp.feed import StreamDescription
from vms.media.rtsp.message import Response, parse_message
from vms.media.rtsp.sdp import parse_sdp
from vms.media.rtsp.server_auth import DigestVerifier
from vms.media.rtsp.server_core import (
    Action,
    Describe,
    HangUp,
    Play,
    Reply,
    ServerCore,
    ServerState,
    Setup,
    Stop,
    session_description,
)

_TCP = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"


def _request(method: str, target: str = "rtsp://h/cam0", *headers: str, cseq: int | None = 7, body: str = "") -> bytes:
    lines = [f"{method} {target} RTSP/1.0", *([f"CSeq: {cseq}"] if cseq is not None else []), *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def _response(data: bytes) -> Response:
    parsed = parse_message(data, 0, len(data))
    assert parsed is not None
    assert parsed[1] == len(data)
    assert isinstance(parsed[0], Response)
    return parsed[0]


def _one(core: ServerCore, data: bytes) -> Action:
    core.feed(data)
    action = core.next_action()
    assert action is not None
    return action


def _answer(core: ServerCore, data: bytes) -> Response:
    action = _one(core, data)
    assert isinstance(action, Reply)
    return _response(action.data)


def _core() -> ServerCore:
    return ServerCore(session_id="5e55")


def _ready(transport: str = _TCP) -> ServerCore:
    core = _core()
    action = _one(core, _request("SETUP", "rtsp://h/cam0/trackID=0", transport))
    assert isinstance(action, Setup)
    assert _response(core.setup_reply(action.request, action.path, DESCRIPTION)).status == 200
    return core


def _playing() -> ServerCore:
    core = _ready()
    action = _one(core, _request("PLAY", "rtsp://h/cam0", "Session: 5e55"))
    assert isinstance(action, Play)
    core.play_reply(action.request, None)
    return core


def test_options_lists_the_methods_and_echoes_the_sequence_number() -> None:
    reply = _answer(_core(), _request("OPTIONS", "*", cseq=42))
    assert (reply.status, reply.cseq) == (200, 42)
    assert reply.headers.get("Public") == "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN"


def test_describe_answers_with_a_description_that_our_own_parser_reads() -> None:
    core = _core()
    action = _one(core, _request("DESCRIBE", "rtsp://h:1/site/cam%200/?a=b", "Accept: application/sdp"))
    assert isinstance(action, Describe)
    assert action.path == "site/cam 0"
    reply = _response(core.describe_reply(action.request, DESCRIPTION))
    assert reply.headers.get("Content-Base") == "rtsp://h:1/site/cam%200/"
    assert reply.headers.get("Content-Type") == "application/sdp"
    text = reply.body.decode()
    sets = ",".join(base64.b64encode(nal).decode() for nal in (SPS, PPS))
    assert f"a=fmtp:96 packetization-mode=1;profile-level-id=42C028;sprop-parameter-sets={sets}\r\n" in text
    assert "a=rtpmap:96 H264/90000\r\n" in text
    assert text.endswith("a=control:trackID=0\r\n")
    video = parse_sdp(reply.body).video
    assert (video.codec, video.payload_type, video.control) == (VideoCodec.H264, 96, "trackID=0")
    assert list(video.parameter_sets) == [SPS, PPS]


def test_h265_is_described_with_its_three_parameter_sets() -> None:
    nals = {kind: bytes([kind << 1, 1]) + b"abc" for kind in (h265.NAL_VPS, h265.NAL_SPS, h265.NAL_PPS)}
    arrays = b"".join(bytes([kind, 0, 1, 0, len(nal)]) + nal for kind, nal in nals.items())
    record = b"\x01" + bytes(21) + b"\x03" + arrays
    parameters = VideoParameters(VideoCodec.H265, 640, 480, record, "hvc1")
    text = session_description(StreamDescription(parameters, ssrc=1, payload_type=98), "5e55")
    vps, sps, pps = (base64.b64encode(nal).decode() for nal in nals.values())
    assert f"a=fmtp:98 sprop-vps={vps};sprop-sps={sps};sprop-pps={pps}\r\n" in text
    assert "a=rtpmap:98 H265/90000\r\n" in text
    assert "framerate" not in text


def test_unknown_streams_are_not_found_by_describe_setup_and_play() -> None:
    core = _core()
    action = _one(core, _request("DESCRIBE"))
    assert isinstance(action, Describe)
    assert _response(core.describe_reply(action.request, None)).status == 404
    setup = _one(core, _request("SETUP", "rtsp://h/cam0/trackID=0", _TCP))
    assert isinstance(setup, Setup)
    assert _response(core.setup_reply(setup.request, setup.path, None)).status == 404
    assert core.state is ServerState.INIT
    core = _ready()
    play = _one(core, _request("PLAY", "rtsp://h/cam0", "Session: 5e55"))
    assert isinstance(play, Play)
    assert _response(core.play_reply(play.request, None, found=False)).status == 404
    assert core.state is ServerState.READY


def test_setup_makes_a_session_with_a_timeout_on_the_channels_that_were_asked_for() -> None:
    core = _core()
    action = _one(core, _request("SETUP", "rtsp://h/cam0/trackID=0", "Transport: RTP/AVP/TCP;unicast;interleaved=4-5"))
    assert isinstance(action, Setup)
    assert action.path == "cam0"
    reply = _response(core.setup_reply(action.request, action.path, DESCRIPTION))
    assert reply.headers.get("Session") == "5e55;timeout=60"
    assert reply.headers.get("Transport") == "RTP/AVP/TCP;unicast;interleaved=4-5;ssrc=11223344"
    assert (core.rtp_channel, core.rtcp_channel) == (4, 5)


@pytest.mark.parametrize(
    ("transport", "channels"),
    [
        ("RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP;unicast;interleaved=2-3", (2, 3)),
        ("RTP/AVP/TCP", (0, 1)),
        ("rtp/avp/tcp; unicast ;interleaved=8", (8, 9)),
        ("RTP/AVP/TCP;interleaved=7-20", (7, 20)),
        ("RTP/AVP;unicast;client_port=5000-5001", None),
        ("RTP/AVP/UDP;unicast;client_port=5000-5001", None),
        ("RTP/AVP/TCP;multicast", None),
        ("RTP/AVP/TCP;interleaved=255-256", None),
        ("RTP/AVP/TCP;interleaved=3-3", None),
        ("RTP/AVP/TCP;interleaved=x", None),
        ("", None),
    ],
)
def test_the_first_tcp_transport_is_taken_and_others_are_unsupported(
    transport: str, channels: tuple[int, int] | None
) -> None:
    core = _core()
    action = _one(core, _request("SETUP", "rtsp://h/cam0/trackID=0", f"Transport: {transport}"))
    assert isinstance(action, Setup)
    reply = _response(core.setup_reply(action.request, action.path, DESCRIPTION))
    assert reply.status == (461 if channels is None else 200)
    if channels is not None:
        assert (core.rtp_channel, core.rtcp_channel) == channels


def test_play_tells_sequence_number_and_timestamp_of_the_first_packet() -> None:
    core = _ready()
    source = ManualSource()
    source.make()
    action = _one(core, _request("PLAY", "rtsp://h/cam0/", "Session: 5e55", "Range: npt=0.000-"))
    assert isinstance(action, Play)
    reply = _response(core.play_reply(action.request, source.make()))
    assert reply.headers.get("RTP-Info") == "url=rtsp://h/cam0/trackID=0;seq=65531;rtptime=4600"
    assert reply.headers.get("Session") == "5e55;timeout=60"
    assert core.state is ServerState.PLAYING
    again = _answer(core, _request("PLAY", "rtsp://h/cam0", "Session: 5e55"))
    assert again.status == 200


def test_teardown_ends_the_session_but_not_the_connection() -> None:
    core = _playing()
    action = _one(core, _request("TEARDOWN", "rtsp://h/cam0", "Session: 5e55"))
    assert isinstance(action, Stop)
    assert _response(action.data).status == 200
    assert _answer(core, _request("PLAY", "rtsp://h/cam0", "Session: 5e55")).status == 454
    assert isinstance(_one(core, _request("SETUP", "rtsp://h/cam0/trackID=0", _TCP)), Setup)


@pytest.mark.parametrize("method", ["GET_PARAMETER", "SET_PARAMETER"])
def test_keep_alive_is_answered_and_parameters_are_not_understood(method: str) -> None:
    core = _playing()
    alive = _answer(core, _request(method, "rtsp://h/cam0", "Session: 5e55"))
    assert (alive.status, alive.headers.get("Session")) == (200, "5e55;timeout=60")
    assert _answer(core, _request(method, "rtsp://h/cam0", "Session: 5e55", body="jitter\r\n")).status == 451


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (_request("PLAY"), 455),
        (_request("TEARDOWN"), 455),
        (_request("PLAY", "rtsp://h/cam0", "Session: 5e55"), 454),
        (_request("PAUSE"), 501),
        (_request("RECORD"), 501),
        (_request("SETUP", "rtsp://h/cam0", _TCP), 459),
        (_request("OPTIONS", "*", "Require: onvif-replay"), 551),
        (_request("DESCRIBE", "rtsp://h/cam0", "Accept: text/html"), 406),
    ],
)
def test_requests_before_setup_get_the_status_that_says_what_is_wrong(request_bytes: bytes, status: int) -> None:
    assert _answer(_core(), request_bytes).status == status


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (_request("PLAY"), 454),
        (_request("PLAY", "rtsp://h/cam0", "Session: other"), 454),
        (_request("PLAY", "rtsp://h/cam1", "Session: 5e55"), 404),
        (_request("SETUP", "rtsp://h/cam1/trackID=0", _TCP, "Session: 5e55"), 459),
    ],
)
def test_requests_outside_the_session_get_the_status_that_says_so(request_bytes: bytes, status: int) -> None:
    assert _answer(_ready(), request_bytes).status == status


def test_setup_while_playing_is_not_valid_and_an_unsupported_option_is_named() -> None:
    assert _answer(_playing(), _request("SETUP", "rtsp://h/cam0/trackID=0", _TCP, "Session: 5e55")).status == 455
    reply = _answer(_core(), _request("OPTIONS", "*", "Require: onvif-replay"))
    assert reply.headers.get("Unsupported") == "onvif-replay"


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01garbage", _request("OPTIONS", cseq=None), b"OPTIONS \r\n\r\n"],
)
def test_what_is_not_rtsp_is_a_bad_request_and_ends_the_connection(data: bytes) -> None:
    core = _core()
    action = _one(core, data)
    assert isinstance(action, HangUp)
    assert _response(action.data).status == 400
    core.feed(_request("OPTIONS"))
    assert core.next_action() is None


def test_a_head_that_never_ends_is_refused_at_64_kilobytes() -> None:
    core = _core()
    core.feed(b"OPTIONS rtsp://h/ RTSP/1.0\r\n")
    for _ in range(70):
        core.feed(b"X: " + b"y" * 1000 + b"\r\n")
        if (action := core.next_action()) is not None:
            break
    assert isinstance(action, HangUp)


def test_requests_between_the_clients_rtcp_are_found_however_the_bytes_are_cut() -> None:
    rtcp = b"$\x01\x00\x08" + b"OPTIONS "
    stream = rtcp + _request("OPTIONS", cseq=1) + rtcp + rtcp + b"\r\n\r\n" + _request("OPTIONS", cseq=2) + rtcp
    for step in (1, 3, 7, 50, 1000):
        core = _core()
        numbers = []
        for at in range(0, len(stream), step):
            core.feed(stream[at : at + step])
            while (action := core.next_action()) is not None:
                assert isinstance(action, Reply)
                numbers.append(_response(action.data).cseq)
        assert numbers == [1, 2]


@given(
    st.lists(
        st.one_of(st.binary(max_size=40), st.sampled_from([b"$\x00\x00\x02ab", b"\r\n", _request("OPTIONS")])),
        max_size=12,
    )
)
@settings(max_examples=200)
def test_no_bytes_raise_and_what_comes_out_is_valid(chunks: list[bytes]) -> None:
    core = _core()
    for chunk in chunks:
        core.feed(chunk)
        while (action := core.next_action()) is not None:
            if isinstance(action, Reply | HangUp | Stop):
                assert _response(action.data).status in {200, 400, 501, 551}


def test_everything_but_options_asks_for_credentials_and_gives_up_after_five_wrong_ones() -> None:
    core = ServerCore(session_id="5e55", verifier=DigestVerifier("u", "p", "nonce"))
    assert _answer(core, _request("OPTIONS", "*")).status == 200
    refused = _answer(core, _request("DESCRIBE"))
    assert refused.status == 401
    assert refused.headers.get("WWW-Authenticate") == 'Digest realm="VMS", nonce="nonce", algorithm=MD5'
    wrong = _request("DESCRIBE", "rtsp://h/cam0", 'Authorization: Digest username="u"')
    assert [_answer(core, wrong).status for _ in range(4)] == [401] * 4
    assert isinstance(_one(core, wrong), HangUp)
