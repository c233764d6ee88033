import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.errors import refusal_of

from vms.common.errors import VmsError
from vms.common.types import (
    CameraId,
    FrameRate,
    Resolution,
    StreamRole,
    new_camera_id,
    new_id,
    parse_camera_id,
    stream_id,
)


def test_new_ids_differ_and_are_camera_ids() -> None:
    ids = {new_camera_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(parse_camera_id(text) == text and re.fullmatch(r"cam_[0-9a-hjkmnp-tv-z]{10}", text) for text in ids)
    assert new_id("evt").startswith("evt_")


@given(st.text(max_size=80) | st.from_regex(r"[a-zA-Z0-9_-]{0,70}\n?"))
def test_what_passes_as_a_camera_id_is_one_safe_path_component_and_one_nats_token(text: str) -> None:
    is_safe = re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]*", text) is not None and len(text) <= 64
    assert (refusal_of(lambda: parse_camera_id(text), VmsError) is None) == is_safe


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a b", "-a", "a\n", "ä", "x" * 65, "a.b", "*"])
def test_what_could_leave_its_directory_or_subject_is_refused(text: str) -> None:
    with pytest.raises(VmsError, match="is not a camera id"):
        parse_camera_id(text)


def test_a_stream_is_named_after_its_camera_and_role() -> None:
    assert stream_id(CameraId("front")) == "front-main"
    assert stream_id(CameraId("front"), StreamRole.SUB) == "front-sub"


def test_sizes_and_rates_show_as_people_write_them() -> None:
    assert str(Resolution(1920, 1080)) == "1920x1080"
    assert FrameRate(30_000, 1001).fps == pytest.approx(29.97, abs=0.001)
    assert FrameRate(25).fps == 25
