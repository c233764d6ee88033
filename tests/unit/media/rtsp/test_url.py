"""Camera URLs: parts, credentials out, control URLs as cameras mean them."""

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.refusals import only_errors

from vms.common.errors import ErrorKind, VmsError
from vms.media.rtsp.url import Credentials, parse_url, resolve_control, strip_credentials


@pytest.mark.parametrize(
    ("text", "host", "port", "target", "shown"),
    [
        ("rtsp://192.0.2.1", "192.0.2.1", 554, "", "rtsp://192.0.2.1"),
        ("rtsp://192.0.2.1:554/", "192.0.2.1", 554, "/", "rtsp://192.0.2.1/"),
        (
            "RTSP://Cam.example:8554/a/b?c=1&d=2",
            "cam.example",
            8554,
            "/a/b?c=1&d=2",
            "rtsp://cam.example:8554/a/b?c=1&d=2",
        ),
        ("rtsp://[2001:db8::1]:8554/x", "2001:db8::1", 8554, "/x", "rtsp://[2001:db8::1]:8554/x"),
        ("rtsp://cam?x=1", "cam", 554, "/?x=1", "rtsp://cam/?x=1"),
        ("rtsp://cam/x#part", "cam", 554, "/x", "rtsp://cam/x"),
    ],
)
def test_parts_of_a_url(text: str, host: str, port: int, target: str, shown: str) -> None:
    url, credentials = parse_url(text)
    assert (url.host, url.port, url.target, str(url)) == (host, port, target, shown)
    assert credentials is None


@settings(max_examples=100)
@given(st.text(min_size=1, max_size=12), st.text(max_size=12))
def test_credentials_are_decoded_and_never_shown(username: str, password: str) -> None:
    try:
        text = f"rtsp://{quote(username, safe='')}:{quote(password, safe='')}@cam:99/x"
    except UnicodeEncodeError:
        return
    url, credentials = parse_url(text)
    assert credentials == Credentials(username, password)
    assert str(url) == "rtsp://cam:99/x"
    assert "@" not in repr(url)
    assert password not in repr(credentials) or password in repr(Credentials(username, ""))


def test_an_at_sign_in_a_raw_password_is_understood() -> None:
    url, credentials = parse_url("rtsp://admin:p@ss@cam/x")
    assert credentials == Credentials("admin", "p@ss")
    assert str(url) == "rtsp://cam/x"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cam",
        "http://cam/",
        "rtsps://cam/",
        "rtsp://",
        "rtsp:///x",
        "rtsp://u:secret@",
        "rtsp://cam:99999/",
        "rtsp://cam:0/",
        "rtsp://cam:secret/",
        "rtsp://u:secret@[::1/x",
        "rtsp://cam/a b",
        "rtsp://u:sec\tret@cam/",
    ],
)
def test_what_is_no_camera_url_is_invalid_and_not_repeated(text: str) -> None:
    with pytest.raises(VmsError) as caught:
        parse_url(text)
    assert caught.value.kind is ErrorKind.INVALID
    assert "secret" not in caught.value.message


@settings(max_examples=200)
@given(st.text(max_size=30).map(lambda t: "rtsp://" + t))
def test_any_text_is_a_url_or_invalid(text: str) -> None:
    with only_errors(ErrorKind.INVALID):
        url, _ = parse_url(text)
        assert parse_url(str(url)) == (url, None)


@pytest.mark.parametrize(
    ("base", "control", "expected"),
    [
        ("rtsp://cam/s/", None, "rtsp://cam/s/"),
        ("rtsp://cam/s", "*", "rtsp://cam/s"),
        ("rtsp://cam/s", "trackID=1", "rtsp://cam/s/trackID=1"),
        ("rtsp://cam/s/", "trackID=1", "rtsp://cam/s/trackID=1"),
        ("rtsp://cam/s?a=1&b=2/", "trackID=0", "rtsp://cam/s?a=1&b=2/trackID=0"),
        ("rtsp://cam/s?a=1", "video", "rtsp://cam/s?a=1/video"),
        ("rtsp://cam/s/", "?ctype=video", "rtsp://cam/s?ctype=video"),
        ("rtsp://cam/s/", "/track1", "rtsp://cam/s/track1"),
        ("rtsp://cam/s/", "rtsp://cam/s/trackID=1?x=y", "rtsp://cam/s/trackID=1?x=y"),
        ("rtsp://cam/s/", "RTSP://u:secret@cam/t", "RTSP://cam/t"),
    ],
)
def test_control_urls(base: str, control: str | None, expected: str) -> None:
    assert resolve_control(base, control) == expected


def test_user_information_is_stripped_from_urls_of_peers() -> None:
    assert strip_credentials("rtsp://u:p@cam/a@b?c@d") == "rtsp://cam/a@b?c@d"
    assert strip_credentials("rtsp://cam/x") == "rtsp://cam/x"
    assert strip_credentials("no url") == "no url"
