import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.common.errors import ErrorKind, VmsError
from vms.common.types import CameraId, StreamId, new_camera_id, stream_id
from vms.proto import subjects
from vms.proto.messages import AnnouncementKind


def test_subjects_are_those_of_the_design() -> None:
    camera = CameraId("cam_1")
    assert subjects.media_au(stream_id(camera)) == "vms.media.cam_1-main.au"
    assert subjects.media_gop(stream_id(camera)) == "vms.media.cam_1-main.gop"
    assert subjects.recording(camera, AnnouncementKind.CLOSED) == "vms.recording.cam_1.closed"
    assert subjects.fragment(camera) == "vms.fragment.cam_1"
    assert subjects.event(camera, "camera_up") == "vms.events.cam_1.camera_up"
    assert subjects.command(subjects.INGEST, subjects.PROBE) == "vms.command.ingest.probe"


def test_every_new_camera_id_is_a_token() -> None:
    camera = new_camera_id()
    assert subjects.token(stream_id(camera)) == f"{camera}-main"


@pytest.mark.parametrize("text", ["", "a.b", "*", ">", "a b", "a\r\nPUB x 0", "é", "x" * 129])
def test_a_token_that_would_change_the_subject_is_refused(text: str) -> None:
    with pytest.raises(VmsError) as caught:
        subjects.media_au(StreamId(text))
    assert caught.value.kind is ErrorKind.INVALID


@given(st.text())
def test_a_token_passes_unchanged_or_is_refused(text: str) -> None:
    try:
        assert subjects.token(text) == text
    except VmsError:
        return
    assert not set(text) & set(". *>\r\n\t")
