import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from vms.common.camera import CameraConfig, CameraInfo, CameraState, CameraStatus, Sink
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, Container, VideoCodec, VideoParameters
from vms.common.types import CameraId, StreamId
from vms.proto import camera_pb2, messages, recording_pb2
from vms.proto.convert import (
    ENUM_TYPES,
    MESSAGE_TYPES,
    UNKNOWN_FIELDS_KEY,
    decode,
    decode_reply,
    encode,
    encode_error,
)
from vms.proto.messages import (
    AnnouncementKind,
    Event,
    FragmentPart,
    FragmentUnit,
    Gap,
    GapCause,
    GetRecordingRequest,
    GopHeader,
    GopRequest,
    ListRecordingsReply,
    ListRecordingsRequest,
    ProbeReply,
    ProbeRequest,
    Recording,
    RecordingAnnouncement,
    RecordingFile,
    Reply,
    Severity,
    StreamUnit,
)

i64 = st.integers(-(2**63), 2**63 - 1)
u64 = st.integers(0, 2**64 - 1)
u32 = st.integers(0, 2**32 - 1)
text = st.text(max_size=20)
data = st.binary(max_size=40)
number = st.floats(allow_nan=False)
camera_ids = st.builds(CameraId, text)
parameters = st.builds(
    VideoParameters,
    codec=st.sampled_from(VideoCodec),
    width=u32,
    height=u32,
    codec_private=data,
    codec_string=text,
    frame_rate=st.none() | number,
    reorder_frames=u32,
)
containers = st.sampled_from(Container)
files = st.builds(
    RecordingFile,
    volume=text,
    path=text,
    container=containers,
    parameters=parameters,
    start_us=i64,
    end_us=i64,
    size_bytes=u64,
    frames=u64,
    fragments=u32,
)
gaps = st.builds(Gap, camera_id=camera_ids, start_us=i64, end_us=i64, cause=st.sampled_from(GapCause), detail=text)
recordings = st.builds(
    Recording,
    id=text,
    camera_id=camera_ids,
    volume=text,
    path=text,
    container=containers,
    parameters=parameters,
    start_us=i64,
    end_us=i64,
    size_bytes=u64,
    frames=u64,
    fragments=u32,
    closed=st.booleans(),
    protected=st.booleans(),
)
infos = st.builds(
    CameraInfo,
    url=text,
    server=st.none() | text,
    codec=text,
    codec_string=text,
    width=u32,
    height=u32,
    fps=st.none() | number,
)
statuses = st.builds(
    CameraStatus,
    camera_id=text,
    state=st.sampled_from(CameraState),
    since_us=i64,
    last_error=st.none() | text,
    last_error_kind=st.none() | text,
    next_try_us=st.none() | i64,
    last_frame_us=st.none() | i64,
    recording=st.booleans(),
    codec=st.none() | text,
    width=st.none() | u32,
    height=st.none() | u32,
    fps=number,
    bitrate_bps=number,
    frames_total=u64,
    bytes_total=u64,
    lost_packets_total=u64,
    reconnects_total=u64,
    gaps_total=u64,
    clock_offset_us=st.none() | i64,
    worker=text,
    updated_us=i64,
)
values = st.one_of(
    parameters,
    st.builds(GopRequest, lease_s=number),
    st.builds(GopHeader, parameters=parameters, first_seq=u64, count=u32),
    st.builds(
        FragmentPart,
        camera_id=camera_ids,
        session_id=text,
        fragment_seq=u64,
        part=u32,
        parts=u32,
        container=containers,
        parameters=parameters,
        units=st.lists(
            st.builds(FragmentUnit, size=u32, pts_90k=i64, dts_90k=i64, capture_us=i64, flags=u32), max_size=3
        ).map(tuple),
        wall_us=i64,
        duration_90k=i64,
        flags=u32,
        data=data,
    ),
    st.builds(
        Event,
        id=text,
        camera_id=camera_ids,
        kind=text,
        at_us=i64,
        severity=st.sampled_from(Severity),
        text=text,
        attributes=st.dictionaries(text, text, max_size=3),
    ),
    st.builds(Reply, ok=st.just(True), payload=data),
    st.builds(
        Reply,
        ok=st.just(False),
        error_kind=st.sampled_from(ErrorKind),
        message=text,
        context=st.dictionaries(text, text, max_size=3),
    ),
    st.builds(
        ListRecordingsRequest,
        camera_id=camera_ids,
        start_us=st.none() | i64,
        end_us=st.none() | i64,
        limit=u32,
        cursor=text,
    ),
    recordings,
    st.builds(ListRecordingsReply, recordings=st.lists(recordings, max_size=3).map(tuple), next_cursor=text),
    st.builds(GetRecordingRequest, camera_id=camera_ids, recording_id=text),
    st.builds(ProbeRequest, url=text, username=text, password=text, timeout_s=number),
    st.builds(ProbeReply, info=infos),
    statuses,
    st.builds(
        RecordingAnnouncement,
        camera_id=camera_ids,
        worker=text,
        kind=st.sampled_from([AnnouncementKind.OPENED, AnnouncementKind.PROGRESS, AnnouncementKind.CLOSED]),
        file=files,
    ),
    st.builds(RecordingAnnouncement, camera_id=camera_ids, worker=text, kind=st.just(AnnouncementKind.GAP), gap=gaps),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | number | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300)
@given(values)
def test_every_message_comes_back_as_it_was_sent(value: Any) -> None:
    assert decode(type(value), encode(value)) == value


@given(st.builds(AccessUnit, u64, i64, i64, i64, u32, data), text, st.sampled_from(VideoCodec))
def test_access_units_come_back_as_they_were_sent(unit: AccessUnit, stream: str, codec: VideoCodec) -> None:
    back = decode(StreamUnit, encode(StreamUnit(StreamId(stream), codec, unit)))
    assert (back.stream_id, back.codec) == (stream, codec)
    for name in AccessUnit.__slots__:
        assert getattr(back.unit, name) == getattr(unit, name)


@given(st.dictionaries(st.from_regex(r"x_[a-z]{1,8}", fullmatch=True), json_values, max_size=4))
def test_camera_settings_of_a_newer_version_are_kept(extra: dict[str, Any]) -> None:
    config = CameraConfig.model_validate(
        {"id": "cam_1", "name": "Door", "url": "rtsp://h/1", "password": "s3cret", "sink": Sink.BUS, **extra}
    )
    assert decode(CameraConfig, encode(config)) == config


def test_fields_of_a_newer_camera_message_survive_a_round_trip_through_the_model() -> None:
    config = CameraConfig(id=CameraId("cam_1"), name="Door", url="rtsp://h/1", password=SecretStr("s3cret"))
    # Field 50, a string, is one that this version does not know.
    newer = encode(config) + bytes([0x92, 0x03, 0x03]) + b"new"
    decoded = decode(CameraConfig, newer)
    assert decoded.password.get_secret_value() == "s3cret"
    stored = CameraConfig.model_validate_json(decoded.model_dump_json())
    assert camera_pb2.CameraConfig.FromString(encode(stored)) == camera_pb2.CameraConfig.FromString(newer)


def test_a_spoilt_carrier_of_unknown_fields_is_an_error_to_the_sender() -> None:
    config = CameraConfig.model_validate({"id": "c", "name": "n", "url": "rtsp://h/1", UNKNOWN_FIELDS_KEY: "/////w=="})
    with pytest.raises(VmsError) as caught:
        encode(config)
    assert caught.value.kind is ErrorKind.INVALID


@pytest.mark.parametrize("value_type", [*MESSAGE_TYPES, CameraConfig])
def test_every_field_has_its_twin_in_the_message(value_type: Any) -> None:
    ours = (
        set(value_type.model_fields)
        if issubclass(value_type, BaseModel)
        else {field.name for field in dataclasses.fields(value_type)}
    )
    descriptor = MESSAGE_TYPES.get(value_type, camera_pb2.CameraConfig).DESCRIPTOR
    assert ours == {field.name for field in descriptor.fields} - {"extra_json"}


@pytest.mark.parametrize("message_type", [*MESSAGE_TYPES.values(), recording_pb2.RecordingAnnouncement])
def test_every_enum_has_the_members_of_its_twin(message_type: Any) -> None:
    for field in message_type.DESCRIPTOR.fields:
        if field.enum_type is not None:
            ours = {member.name for member in ENUM_TYPES[field.enum_type.name]} | {"UNSPECIFIED"}
            assert {name.removeprefix(_prefix(field.enum_type)) for name in field.enum_type.values_by_name} == ours


def _prefix(enum: Any) -> str:
    return str(enum.values_by_number[0].name).removesuffix("UNSPECIFIED")


@given(st.binary(max_size=200), st.sampled_from([*MESSAGE_TYPES, CameraConfig, StreamUnit, RecordingAnnouncement]))
def test_any_bytes_are_a_message_or_a_protocol_error(raw: bytes, value_type: Any) -> None:
    outcome: object
    try:
        outcome = decode(value_type, raw)
    except VmsError as error:
        outcome = error
    if isinstance(outcome, VmsError):
        assert outcome.kind is ErrorKind.PROTOCOL
        assert "\n" not in outcome.message
    else:
        assert isinstance(outcome, value_type)


def test_an_error_about_a_camera_config_does_not_quote_its_password() -> None:
    raw = camera_pb2.CameraConfig(id="c", name="", url="x", password="s3cret", container=1, sink=1).SerializeToString()  # type: ignore[arg-type]
    with pytest.raises(VmsError) as caught:
        decode(CameraConfig, raw)
    assert "s3cret" not in caught.value.message


def test_an_unknown_enum_value_is_a_protocol_error() -> None:
    gap = recording_pb2.Gap(camera_id="c", cause=99)  # type: ignore[arg-type]
    with pytest.raises(VmsError, match="cause"):
        decode(Gap, gap.SerializeToString())


def test_a_number_out_of_range_is_an_error_to_the_sender() -> None:
    with pytest.raises(VmsError) as caught:
        encode(GetRecordingRequest(CameraId("c"), "r" * 3 + "\ud800"))
    assert caught.value.kind is ErrorKind.INVALID
    with pytest.raises(VmsError):
        encode(ListRecordingsRequest(CameraId("c"), limit=-1))
    with pytest.raises(VmsError):
        encode(object())
    with pytest.raises(VmsError):
        encode(RecordingAnnouncement(CameraId("c"), "w", AnnouncementKind.GAP))


def test_an_error_crosses_the_bus_with_kind_message_and_context() -> None:
    sent = VmsError(ErrorKind.NOT_FOUND, "no such camera", camera_id="cam_1", tries=3)
    with pytest.raises(VmsError) as caught:
        decode_reply(encode_error(sent))
    assert caught.value.kind is ErrorKind.NOT_FOUND
    assert caught.value.message == "no such camera"
    assert caught.value.context == {"camera_id": "cam_1", "tries": "3"}
    assert decode_reply(encode(messages.Reply(ok=True, payload=b"x"))) == b"x"
