from vms.api.recordings.schemas import recording_view
from vms.common.stream import Container, VideoCodec, VideoParameters
from vms.common.types import CameraId
from vms.proto.messages import Recording


def test_times_are_rfc_3339_in_utc_to_the_microsecond() -> None:
    recording = Recording(
        id="rec_1",
        camera_id=CameraId("cam_a"),
        volume="main",
        path="cameras/cam_a/2026-03-01/video_10.mkv",
        container=Container.MKV,
        parameters=VideoParameters(VideoCodec.H265, 3840, 2160, b"", "hvc1.1.6.L153.B0"),
        start_us=1_772_359_200_000_001,
        end_us=1_772_359_200_500_001,
        size_bytes=5,
        frames=12,
        fragments=1,
        closed=True,
    )
    view = recording_view(recording)
    assert (view.start, view.end) == ("2026-03-01T10:00:00.000001Z", "2026-03-01T10:00:00.500001Z")
    assert (view.duration_s, view.bytes, view.codec, view.width) == (0.5, 5, VideoCodec.H265, 3840)
