"""Digest verification, checked against RFC 2617 by hand and against the product's own client."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vms.media.rtsp.auth import Authenticator
from vms.media.rtsp.server_auth import REALM, DigestVerifier
from vms.media.rtsp.url import Credentials

_URI = "rtsp://127.0.0.1:8554/cam0"


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _header(username: str, password: str, nonce: str, *, method: str = "PLAY", uri: str = _URI) -> str:
    response = _md5(f"{_md5(f'{username}:{REALM}:{password}')}:{nonce}:{_md5(f'{method}:{uri}')}")
    return f'Digest username="{username}", realm="{REALM}", nonce="{nonce}", uri="{uri}", response="{response}"'


_VERIFIER = DigestVerifier("admin", "pass", "n0nce")


def test_the_right_password_is_accepted() -> None:
    assert _VERIFIER.accepts("PLAY", _URI, _header("admin", "pass", "n0nce"))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Digest",
        "Basic YWRtaW46cGFzcw==",
        _header("admin", "wrong", "n0nce"),
        _header("other", "pass", "n0nce"),
        _header("admin", "pass", "of another connection"),
        _header("admin", "pass", "n0nce", method="DESCRIBE"),
        _header("admin", "pass", "n0nce", uri="rtsp://127.0.0.1:8554/cam1"),
        _header("admin", "pass", "n0nce", uri="rtsp://[bad/cam0"),
        _header("admin", "pass", "n0nce").replace("response", "respond"),
        _header("admin", "pass", "n0nce") + ", Basic x",
    ],
)
def test_anything_else_is_refused(header: str | None) -> None:
    assert not _VERIFIER.accepts("PLAY", _URI, header)


def test_clients_may_sign_the_stream_instead_of_its_track() -> None:
    assert _VERIFIER.accepts("SETUP", f"{_URI}/trackID=0", _header("admin", "pass", "n0nce", method="SETUP"))
    assert _VERIFIER.accepts("PLAY", f"{_URI}/", _header("admin", "pass", "n0nce"))


@given(st.text(st.characters(codec="utf-8", exclude_characters='"\r\n'), min_size=1, max_size=12), st.text(max_size=12))
@settings(max_examples=100)
def test_the_products_own_client_is_accepted_with_any_name_and_password(username: str, password: str) -> None:
    verifier = DigestVerifier(username, password, "abc")
    client = Authenticator(Credentials(username, password))
    assert client.accept([verifier.challenge()]) is not None
    assert verifier.accepts("DESCRIBE", _URI, client.header("DESCRIBE", _URI))


@given(st.text(max_size=80))
@settings(max_examples=150)
def test_no_header_raises_and_none_is_accepted_by_chance(header: str) -> None:
    assert not _VERIFIER.accepts("PLAY", _URI, header)
