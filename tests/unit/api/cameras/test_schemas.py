from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from vms.api.cameras.schemas import CameraCreate, CameraPatch, apply_patch, config_from, split_credentials
from vms.common.types import CameraId

text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@settings(max_examples=200)
@given(username=text, password=st.text(st.characters(codec="utf-8"), max_size=20), port=st.integers(1, 65535))
def test_whatever_credentials_a_url_holds_they_are_split_off_exactly(username: str, password: str, port: int) -> None:
    rest = f"192.0.2.1:{port}/Streaming/1?a=b@c"
    url = f"rtsp://{quote(username, safe='')}:{quote(password, safe='')}@{rest}"
    assert split_credentials(url) == (f"rtsp://{rest}", username, password)


def test_a_url_without_credentials_is_left_as_it_is() -> None:
    for url in ("rtsp://192.0.2.1/a@b", "rtsp://[2001:db8::1]:554/x?y=1#z"):
        assert split_credentials(url) == (url, None, None)


def test_a_password_with_an_at_sign_that_nobody_escaped_is_understood() -> None:
    assert split_credentials("rtsp://u:p@ss@192.0.2.1/x") == ("rtsp://192.0.2.1/x", "u", "p@ss")


def test_a_patched_url_with_credentials_replaces_both() -> None:
    config = config_from(CameraCreate(name="A", url="rtsp://u:p@h/1"), CameraId("a"))
    patched = apply_patch(config, CameraPatch(url="rtsp://v:q@h/2"))
    assert (patched.url, patched.username, patched.password) == ("rtsp://h/2", "v", SecretStr("q"))


def test_a_patched_url_without_credentials_keeps_them() -> None:
    config = config_from(CameraCreate(name="A", url="rtsp://u:p@h/1"), CameraId("a"))
    patched = apply_patch(config, CameraPatch(url="rtsp://h/2"))
    assert (patched.url, patched.username, patched.password) == ("rtsp://h/2", "u", SecretStr("p"))


def test_settings_of_a_newer_version_survive_a_patch() -> None:
    config = config_from(CameraCreate(name="A", url="rtsp://h/1"), CameraId("a"))
    newer = type(config).model_validate({**config.model_dump(), "analytics": {"zones": 3}})
    assert apply_patch(newer, CameraPatch(name="B")).model_dump()["analytics"] == {"zones": 3}
