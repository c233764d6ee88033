"""SDP: the video stream of real and broken descriptions, or a clear refusal."""

import base64
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.bitstream import H264_PPS, H265_PPS, H265_VPS, h264_sps, h265_sps
from tests.support.refusals import only_errors

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec
from vms.media.rtp.parameter_store import ParameterStore
from vms.media.rtsp.message import parse_message
from vms.media.rtsp.sdp import parse_sdp

ASSETS = Path(__file__).parents[5] / "shared/assets/sdp"
needs_assets = pytest.mark.skipif(
    not ASSETS.is_dir(), reason="real cameras' replies (../shared/assets/sdp) are not here"
)


def b64(nal: bytes) -> str:
    return base64.b64encode(nal).decode()


def sdp(*media: str, session: str = "") -> bytes:
    return ("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n" + session + "".join(media)).encode()


VIDEO = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n"
AUDIO = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000\r\na=control:trackID=2\r\n"


def test_the_video_is_found_among_other_streams() -> None:
    found = parse_sdp(sdp(AUDIO, VIDEO, session="a=control:*\r\n"))
    assert found.control == "*"
    assert (found.video.codec, found.video.payload_type, found.video.control) == (VideoCodec.H264, 96, "trackID=1")
    assert found.video.parameter_sets == ()
    assert found.video.frame_rate is None


def test_h264_parameter_sets() -> None:
    sets = [h264_sps(), H264_PPS]
    fmtp = f"a=fmtp:96 packetization-mode=1; sprop-parameter-sets={','.join(map(b64, sets))}\r\na=framerate:12.5\r\n"
    video = parse_sdp(sdp(VIDEO + fmtp)).video
    assert list(video.parameter_sets) == sets
    assert video.frame_rate == 12.5


def test_h265_parameter_sets() -> None:
    sets = [H265_VPS, h265_sps(), H265_PPS]
    names = zip(("vps", "sps", "pps"), sets, strict=True)
    fmtp = "a=fmtp:98 " + ";".join(f"sprop-{name}={b64(nal)}" for name, nal in names) + "\r\n"
    video = parse_sdp(sdp("m=video 0 RTP/AVP 98\r\na=rtpmap:98 H265/90000\r\n" + fmtp)).video
    assert (video.codec, list(video.parameter_sets)) == (VideoCodec.H265, sets)


def test_parameter_sets_without_padding_or_within_start_codes_are_read_and_damaged_ones_left_out() -> None:
    sps = h264_sps()
    texts = [b64(sps).rstrip("="), b64(b"\x00\x00\x00\x01" + H264_PPS + b"\x00\x00\x00\x01"), "!!!", ""]
    video = parse_sdp(sdp(VIDEO + f"a=fmtp:96 sprop-parameter-sets={','.join(texts)}\r\n")).video
    assert list(video.parameter_sets) == [sps, H264_PPS]


def test_the_first_usable_format_of_a_stream_with_several_is_taken() -> None:
    text = (
        "m=video 0 RTP/AVP 26 96 111 112\r\na=rtpmap:96 MP4V-ES/90000\r\na=rtpmap:111 H264/90000\r\n"
        "a=rtpmap:112 H264/90000\r\na=fmtp:112 sprop-parameter-sets=" + b64(H264_PPS) + "\r\n"
    )
    video = parse_sdp(sdp(text)).video
    assert (video.payload_type, video.parameter_sets) == (111, ())


def test_a_second_video_stream_is_taken_when_the_first_is_unusable() -> None:
    jpeg = "m=video 0 RTP/AVP 26\r\na=control:jpeg\r\n"
    assert parse_sdp(sdp(jpeg, VIDEO)).video.control == "trackID=1"


@pytest.mark.parametrize(
    ("media", "said"),
    [
        (AUDIO, "no video"),
        ("m=video 0 RTP/AVP 26\r\n", "JPEG"),
        ("m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n", "VP8"),
        ("m=video 0 RTP/AVP 96\r\n", "payload type 96"),
        ("m=video 0 RTP/SAVP 96\r\na=rtpmap:96 H264/90000\r\n", "H264 over RTP/SAVP"),
        ("m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/1000\r\n", "1000 Hz"),
        (VIDEO + "a=fmtp:96 packetization-mode=2\r\n", "interleaved packetisation"),
        ("m=video\r\n", "unnamed format"),
    ],
)
def test_what_cannot_be_recorded_is_named(media: str, said: str) -> None:
    with pytest.raises(VmsError, match=said) as caught:
        parse_sdp(sdp(media))
    assert caught.value.kind is ErrorKind.UNSUPPORTED


@pytest.mark.parametrize(
    "body", [b"", b"<html></html>", b"a=b\nc=d\n", b"v=0\r\ns=x\r\n", b"v=0\r\n" + b"x" * 70_000, sdp(*[VIDEO] * 65)]
)
def test_what_is_no_description_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(VmsError) as caught:
        parse_sdp(body)
    assert caught.value.kind is ErrorKind.PROTOCOL


def test_a_control_attribute_that_cannot_stand_in_a_request_is_ignored() -> None:
    assert parse_sdp(sdp(VIDEO + "a=control:two words\r\n")).video.control == "trackID=1"


LINES = st.one_of(
    st.text(max_size=30),
    st.builds("{}={}".format, st.sampled_from("vosmabtc"), st.text(max_size=30)),
    st.builds("a={}:96 {}".format, st.sampled_from(["rtpmap", "fmtp", "control", "framerate"]), st.text(max_size=30)),
    st.sampled_from(VIDEO.splitlines()),
)


@settings(max_examples=200)
@given(st.lists(LINES, max_size=12).map("\r\n".join))
def test_any_text_is_a_description_or_a_documented_error(text: str) -> None:
    with only_errors(ErrorKind.PROTOCOL, ErrorKind.UNSUPPORTED):
        assert parse_sdp(text.encode("utf-8", "replace")).video.codec in VideoCodec


@needs_assets
def test_every_real_description_is_understood_or_refused_with_a_reason() -> None:
    understood = 0
    for path in sorted(ASSETS.glob("*/*")):
        body = path.read_bytes()
        if body.startswith(b"RTSP/1.0 ") and "fuzz" not in str(path):
            found = parse_message(body, 0, len(body))
            body = found[0].body if found else body
        with only_errors(ErrorKind.PROTOCOL, ErrorKind.UNSUPPORTED):
            video = parse_sdp(body).video
            understood += 1
            if "fuzz" not in str(path) and video.parameter_sets:
                store = ParameterStore(video.codec)
                store.update(video.parameter_sets)
                parameters = store.take_change()
                assert parameters is not None
                assert parameters.width > 100
    assert understood >= 60


@needs_assets
@pytest.mark.parametrize(
    ("camera", "control", "aggregate"),
    [
        ("dahua_describe_h264_aac_onvif", "trackID=0", "*"),
        ("foscam_describe", "track1", "*"),
        ("gw_main_describe", "video", "*"),
        ("missing_content_type_describe", "streamid=0", None),
        ("ubiquiti_sdp", "trackID=2", "*"),
    ],
)
def test_control_attributes_of_real_cameras(camera: str, control: str, aggregate: str | None) -> None:
    body = (ASSETS / "retina" / f"{camera}.txt").read_bytes()
    found = parse_sdp(body)
    assert (found.video.control, found.control) == (control, aggregate)
