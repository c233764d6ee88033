import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.support.errors import refusal_of
from tests.support.ingest import camera

from vms.common.camera import CameraConfig, CameraState, CameraStatus, check_camera_url
from vms.common.types import CameraId

SECRET = "s3cr3t-W0rd"


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://192.0.2.10/stream1",
        "rtsp://camera.example:8554/a/b?channel=1&subtype=0",
        "rtsp://[2001:db8::1]:554/x",
        "rtsp://user:pass@host/path",
        "rtsp://user:p@ss@host/path",
    ],
)
def test_urls_of_cameras_pass_as_they_are(url: str) -> None:
    assert check_camera_url(url) == url


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://host/x", "must start with rtsp://"),
        ("host/x", "must start with rtsp://"),
        ("rtsp:///x", "needs a host"),
        ("rtsp://host:0/x", "needs a host"),
        ("rtsp://host:70000/x", "malformed"),
        ("rtsp://host:port/x", "malformed"),
        ("rtsp://[::1/x", "malformed"),
        ("rtsp://host/a b", "space"),
        ("rtsp://host/a\nb", "control character"),
        ("rtsp://host/\x7f", "control character"),
    ],
)
def test_other_urls_are_refused_with_what_to_write_instead(url: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        check_camera_url(url)


@given(st.sampled_from(["/", "?", "#", "@", ":", "[", "\u2100", "%"]), st.sampled_from(["x", "", "99"]))
def test_no_refusal_quotes_the_password(character: str, tail: str) -> None:
    url = f"rtsp://admin:{SECRET}{character}{tail}@host/stream"
    assert SECRET not in str(refusal_of(lambda: check_camera_url(url), ValueError))


def test_the_password_is_in_the_json_form_and_in_no_other() -> None:
    config = camera(password=SECRET)
    assert SECRET not in repr(config)
    assert SECRET not in str(config.model_dump())
    assert json.loads(config.model_dump_json())["password"] == SECRET


def test_keys_of_a_newer_version_survive() -> None:
    text = camera(schedule={"monday": "motion"}).model_dump_json()
    again = CameraConfig.model_validate_json(text)
    assert json.loads(again.model_dump_json())["schedule"] == {"monday": "motion"}


@pytest.mark.parametrize("changes", [{"name": ""}, {"url": "file:///etc/passwd"}, {"retention_days": 0}])
def test_a_camera_without_name_address_or_retention_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        camera("cam1", **changes)


def test_a_configuration_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        camera().name = "other"


def test_a_status_of_a_newer_worker_is_read_without_what_is_unknown() -> None:
    status = CameraStatus.model_validate({"camera_id": "cam1", "state": "online", "since_us": 1, "mood": "good"})
    assert status == CameraStatus(camera_id=CameraId("cam1"), state=CameraState.ONLINE, since_us=1)
