"""RTSP messages: what is encoded is parsed, at every split, and garbage is refused by one kind of error."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.refusals import only_errors

from vms.common.errors import ErrorKind, VmsError
from vms.media.rtsp.message import MAX_MESSAGE_BYTES, Headers, Request, Response, parse_message, printable

ASSETS = Path(__file__).parents[5] / "shared/assets/sdp"

NAMES = st.text("ABCdef-9", min_size=1, max_size=8)
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), max_size=20)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=5).map(Headers)
BODIES = st.binary(max_size=60)
REQUESTS = st.builds(
    Request,
    st.sampled_from(["OPTIONS", "DESCRIBE", "SET_PARAMETER"]),
    st.text("abc/:?=*$", min_size=1),
    HEADERS,
    BODIES,
)
RESPONSES = st.builds(Response, st.integers(100, 599), st.sampled_from(["OK", "Not Found", ""]), HEADERS, BODIES)


@settings(max_examples=100)
@given(REQUESTS | RESPONSES, st.binary(max_size=20))
def test_what_is_encoded_is_parsed(message: Request | Response, behind: bytes) -> None:
    data = message.encode()
    parsed = parse_message(b"xx" + data + behind, 2, 2 + len(data) + len(behind))
    assert parsed is not None
    found, position = parsed
    assert position == 2 + len(data)
    assert type(found) is type(message)
    assert found.headers.without("Content-Length") == message.headers
    assert found.body == message.body
    assert found.encode() == data


@settings(max_examples=60)
@given(REQUESTS | RESPONSES)
def test_an_incomplete_message_asks_for_more_at_every_position(message: Request | Response) -> None:
    data = bytearray(message.encode())
    for end in range(len(data)):
        assert parse_message(data, 0, end) is None


@settings(max_examples=200)
@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda b: b"RTSP/1.0 200 OK\r\n" + b + b"\r\n\r\n"))
def test_garbage_raises_nothing_but_a_protocol_error(data: bytes) -> None:
    with only_errors(ErrorKind.PROTOCOL):
        parse_message(data, 0, len(data))


def test_header_names_compare_without_case_and_may_repeat() -> None:
    headers = Headers([("WWW-Authenticate", "Basic"), ("CSeq", "7"), ("www-authenticate", "Digest")])
    assert headers.get("cseq") == "7"
    assert headers.get_all("WWW-AUTHENTICATE") == ["Basic", "Digest"]
    assert headers.get("Session") is None
    assert "CSEQ" in headers
    assert len(headers.without("www-Authenticate")) == 1
    assert headers.replaced("CSeq", "8").get("CSeq") == "8"
    assert Headers([("A", "1")]) == Headers([("a", "1")])
    assert hash(Headers([("A", "1")])) == hash(Headers([("a", "1")]))
    assert "secret" not in repr(Headers([("Authorization", "secret")]))


def test_bare_line_feeds_blank_lines_and_folded_headers_are_accepted() -> None:
    data = b"\r\n\r\nRTSP/1.0 200\nCSeq: 3\nX: a\n\tb\n\n"
    parsed = parse_message(data, 0, len(data))
    assert parsed is not None
    message, position = parsed
    assert isinstance(message, Response)
    assert position == len(data)
    assert (message.status, message.reason, message.cseq, message.headers.get("X")) == (200, "", 3, "a b")


@pytest.mark.parametrize("cseq", ["", "x", "-1", "9" * 30, "٣"])
def test_a_sequence_number_that_is_none_is_not_there(cseq: str) -> None:
    assert Request("OPTIONS", "*", Headers([("CSeq", cseq)])).cseq is None


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01",
        b"RTSP/1.0 OK\r\n",
        b"RTSP/1.0 200 OK\r\nno colon\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: many\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 70000\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nA: " + b"x" * MAX_MESSAGE_BYTES,
    ],
)
def test_what_is_no_message_is_told_early(data: bytes) -> None:
    with pytest.raises(VmsError) as caught:
        parse_message(data, 0, len(data))
    assert caught.value.kind is ErrorKind.PROTOCOL
    assert "\n" not in caught.value.message


def test_a_line_break_cannot_be_smuggled_into_a_header() -> None:
    with pytest.raises(VmsError) as caught:
        Request("OPTIONS", "*", Headers([("A", "b\r\nC: d")])).encode()
    assert caught.value.kind is ErrorKind.INVALID


def test_bytes_in_another_character_set_go_back_as_they_came() -> None:
    data = b'RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm="\xb2\xe2"\r\n\r\n'
    parsed = parse_message(data, 0, len(data))
    assert parsed is not None
    assert parsed[0].encode() == data


def test_text_of_a_peer_is_made_printable() -> None:
    assert printable("a\x1b[31m\udc80b\n", 10) == "a?[31m?b?"
    assert printable("x" * 300, 5) == "xxxxx"


@pytest.mark.skipif(not ASSETS.is_dir(), reason="real cameras' replies (../shared/assets/sdp) are not here")
def test_replies_of_real_cameras_are_parsed_and_fuzz_findings_are_survived() -> None:
    parsed = 0
    for path in sorted(ASSETS.glob("*/*")):
        data = path.read_bytes()
        with only_errors(ErrorKind.PROTOCOL):
            parsed += parse_message(data, 0, len(data)) is not None
    assert parsed >= 25
