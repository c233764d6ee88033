"""Messages between Python values and Protocol Buffers: ``encode(value)`` and ``decode(Type, data)``.

One generic walk over the message descriptors serves every dataclass, because each field carries the same name on both
sides (a test proves it). Access units, which pass 25 times a second per stream, and the camera models, which keep what
a newer version wrote, have their own code. Decoding raises VmsError(PROTOCOL) for anything that is not such a message.
"""

import base64
import json
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Any, Final, TypeVar, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from pydantic import BaseModel, ValidationError

from vms.common.camera import CameraConfig, CameraInfo, CameraState, CameraStatus, Sink
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, Container, VideoCodec, VideoParameters
from vms.common.types import StreamId
from vms.proto import camera_pb2, command_pb2, events_pb2, fragment_pb2, media_pb2, messages, recording_pb2

T = TypeVar("T")

MESSAGE_TYPES: Final[dict[type, type[Message]]] = {
    VideoParameters: media_pb2.VideoParameters,
    messages.GopRequest: media_pb2.GopRequest,
    messages.GopHeader: media_pb2.GopHeader,
    messages.RecordingFile: recording_pb2.RecordingFile,
    messages.Gap: recording_pb2.Gap,
    messages.FragmentUnit: fragment_pb2.FragmentUnit,
    messages.FragmentPart: fragment_pb2.FragmentPart,
    messages.Event: events_pb2.Event,
    messages.Reply: command_pb2.Reply,
    messages.ListRecordingsRequest: command_pb2.ListRecordingsRequest,
    messages.Recording: command_pb2.Recording,
    messages.ListRecordingsReply: command_pb2.ListRecordingsReply,
    messages.GetRecordingRequest: command_pb2.GetRecordingRequest,
    messages.ProbeRequest: command_pb2.ProbeRequest,
    messages.ProbeReply: command_pb2.ProbeReply,
    CameraStatus: camera_pb2.CameraStatus,
    CameraInfo: command_pb2.CameraInfo,
}
ENUM_TYPES: Final[dict[str, type[StrEnum]]] = {
    "VideoCodec": VideoCodec,
    "Container": Container,
    "Sink": Sink,
    "CameraState": CameraState,
    "GapCause": messages.GapCause,
    "Severity": messages.Severity,
}
# Fields of a newer version's CameraConfig message, carried through the model as text so that they survive storage.
UNKNOWN_FIELDS_KEY: Final = "proto_unknown_base64"

_FIELDS: Final[dict[str, Sequence[FieldDescriptor]]] = {}
_VALUE_TYPES: Final[dict[str, type]] = {
    message_type.DESCRIPTOR.full_name: value_type for value_type, message_type in MESSAGE_TYPES.items()
}


def encode(value: object) -> bytes:
    """The wire form of a message. Raises VmsError(INVALID) when a field is out of the range the format can hold."""
    try:
        return _to_message(value).SerializeToString()
    except (DecodeError, TypeError, ValueError) as error:
        raise VmsError(ErrorKind.INVALID, f"{type(value).__name__} cannot be sent: {error}") from None


def decode(value_type: type[T], data: bytes) -> T:
    """The message of ``value_type`` that ``data`` holds. Raises VmsError(PROTOCOL) when it holds none."""
    try:
        return cast("T", _from_bytes(value_type, data))
    except (DecodeError, ValidationError, ValueError, TypeError) as error:
        # A validation error quotes its input, which may be a password.
        reason = "a field is out of range" if isinstance(error, ValidationError) else str(error).partition("\n")[0]
        raise VmsError(
            ErrorKind.PROTOCOL, f"not a valid {value_type.__name__} message ({len(data)} bytes): {reason}"
        ) from None


def encode_error(error: VmsError) -> bytes:
    """A Reply that carries the error to the other side."""
    context = {key: str(value) for key, value in error.context.items()}
    return encode(messages.Reply(ok=False, error_kind=error.kind, message=error.message, context=context))


def decode_reply(data: bytes) -> bytes:
    """The payload of a Reply; raises the VmsError that it carries, or VmsError(PROTOCOL)."""
    reply = decode(messages.Reply, data)
    if reply.ok:
        return reply.payload
    raise VmsError(reply.error_kind or ErrorKind.INTERNAL, reply.message, **reply.context)


def _to_message(value: object) -> Message:
    if isinstance(value, messages.StreamUnit):
        return _unit_to_message(value)
    if isinstance(value, messages.RecordingAnnouncement):
        return _announcement_to_message(value)
    if isinstance(value, CameraConfig):
        return _config_to_message(value)
    message_type = MESSAGE_TYPES.get(type(value))
    if message_type is None:
        raise TypeError("there is no such message")
    message = message_type()
    _fill(message, value)
    return message


def _from_bytes(value_type: type, data: bytes) -> object:
    if value_type is messages.StreamUnit:
        return _unit_from_message(media_pb2.AccessUnit.FromString(data))
    if value_type is messages.RecordingAnnouncement:
        return _announcement_from_message(recording_pb2.RecordingAnnouncement.FromString(data))
    if value_type is CameraConfig:
        return _config_from_message(camera_pb2.CameraConfig.FromString(data))
    return _to_value(value_type, MESSAGE_TYPES[value_type].FromString(data))


# --- the generic walk -------------------------------------------------------------------------------


def _fields(message: Message) -> Sequence[FieldDescriptor]:
    # Kept by name: asking the descriptor for its list makes a new one each time.
    found = _FIELDS.get(message.DESCRIPTOR.full_name)
    if found is None:
        found = _FIELDS[message.DESCRIPTOR.full_name] = cast("list[FieldDescriptor]", list(message.DESCRIPTOR.fields))
    return found


def _fill(message: Message, value: object) -> None:
    for field in _fields(message):
        name = field.name
        item = getattr(value, name)
        if item is None:
            continue
        if field.message_type is None:
            setattr(message, name, _enum_number(field, item) if field.enum_type is not None else item)
        elif field.message_type.GetOptions().map_entry:
            getattr(message, name).update(item)
        elif field.is_repeated:
            target = getattr(message, name)
            for entry in item:
                _fill(target.add(), entry)
        else:
            target = getattr(message, name)
            target.SetInParent()  # presence matters even when every field has its default
            _fill(target, item)


def _to_value(value_type: type, message: Message) -> object:
    values: dict[str, Any] = {}
    for field in _fields(message):
        name = field.name
        if field.has_presence and not message.HasField(name):
            if field.message_type is not None:
                raise ValueError(f"{name} is missing")
            values[name] = None
            continue
        item = getattr(message, name)
        if field.enum_type is not None:
            item = _enum_member(field, item)
        elif field.message_type is not None:
            if field.message_type.GetOptions().map_entry:
                item = dict(item)
            elif field.is_repeated:
                entry_type = _VALUE_TYPES[field.message_type.full_name]
                item = tuple(_to_value(entry_type, entry) for entry in item)
            else:
                item = _to_value(_VALUE_TYPES[field.message_type.full_name], item)
        values[name] = item
    if value_type is messages.Reply:
        # An error kind of a newer version is still an error.
        values["error_kind"] = _error_kind(values["error_kind"]) if not values["ok"] else None
    if issubclass(value_type, BaseModel):
        return value_type.model_validate(values)
    return value_type(**values)


def _error_kind(text: str) -> ErrorKind:
    try:
        return ErrorKind(text)
    except ValueError:
        return ErrorKind.INTERNAL


def _enum_number(field: FieldDescriptor, member: StrEnum) -> int:
    enum = field.enum_type
    assert enum is not None
    return enum.values_by_name[f"{_enum_prefix(enum.name)}{member.name}"].number


def _enum_member(field: FieldDescriptor, number: int) -> StrEnum:
    enum = field.enum_type
    assert enum is not None
    entry = enum.values_by_number.get(number)
    if number == 0 or entry is None:
        raise ValueError(f"{field.name} has the unknown value {number}")
    return ENUM_TYPES[enum.name][entry.name.removeprefix(_enum_prefix(enum.name))]


@cache
def _enum_prefix(enum_name: str) -> str:
    words = "".join(f"_{letter}" if letter.isupper() else letter for letter in enum_name).lstrip("_")
    return f"{words.upper()}_"


# --- messages with their own code -------------------------------------------------------------------


_CODEC_NUMBER: Final = {
    VideoCodec.H264: media_pb2.VIDEO_CODEC_H264,
    VideoCodec.H265: media_pb2.VIDEO_CODEC_H265,
}
_CODEC_OF_NUMBER: Final[dict[int, VideoCodec]] = {int(number): codec for codec, number in _CODEC_NUMBER.items()}


def _unit_to_message(value: messages.StreamUnit) -> Message:
    unit = value.unit
    return media_pb2.AccessUnit(
        stream_id=value.stream_id,
        seq=unit.seq,
        pts_90k=unit.pts_90k,
        dts_90k=unit.dts_90k,
        capture_us=unit.capture_us,
        flags=unit.flags,
        codec=_CODEC_NUMBER[value.codec],
        payload=unit.payload,
    )


def _unit_from_message(message: media_pb2.AccessUnit) -> messages.StreamUnit:
    codec = _CODEC_OF_NUMBER.get(int(message.codec))
    if codec is None:
        raise ValueError(f"codec has the unknown value {int(message.codec)}")
    unit = AccessUnit(message.seq, message.pts_90k, message.dts_90k, message.capture_us, message.flags, message.payload)
    return messages.StreamUnit(StreamId(message.stream_id), codec, unit)


def _announcement_to_message(value: messages.RecordingAnnouncement) -> Message:
    message = recording_pb2.RecordingAnnouncement(camera_id=value.camera_id, worker=value.worker)
    body = value.gap if value.kind is messages.AnnouncementKind.GAP else value.file
    if body is None:
        raise TypeError(f"a {value.kind} announcement needs its {'gap' if value.kind == 'gap' else 'file'}")
    target = getattr(message, value.kind)
    target.SetInParent()
    _fill(target, body)
    return message


def _announcement_from_message(message: recording_pb2.RecordingAnnouncement) -> messages.RecordingAnnouncement:
    name = message.WhichOneof("body")
    if name is None:
        raise ValueError("it announces nothing that this version knows")
    kind = messages.AnnouncementKind(name)
    body = getattr(message, name)
    value = _to_value(_VALUE_TYPES[body.DESCRIPTOR.full_name], body)
    return messages.RecordingAnnouncement(
        camera_id=message.camera_id,  # type: ignore[arg-type] # CameraId is a str
        worker=message.worker,
        kind=kind,
        file=value if isinstance(value, messages.RecordingFile) else None,
        gap=value if isinstance(value, messages.Gap) else None,
    )


def _config_to_message(config: CameraConfig) -> Message:
    message = camera_pb2.CameraConfig()
    extra = dict(config.model_extra or {})
    unknown = extra.pop(UNKNOWN_FIELDS_KEY, None)
    if isinstance(unknown, str):
        message.MergeFromString(base64.b64decode(unknown, validate=True))
    for field in _fields(message):
        if field.name == "extra_json":
            message.extra_json.update({key: json.dumps(value) for key, value in extra.items()})
        elif field.name == "password":
            message.password = config.password.get_secret_value()
        else:
            item = getattr(config, field.name)
            setattr(message, field.name, _enum_number(field, item) if field.enum_type is not None else item)
    return message


def _config_from_message(message: camera_pb2.CameraConfig) -> CameraConfig:
    values: dict[str, Any] = {
        key: json.loads(text) for key, text in message.extra_json.items() if key != UNKNOWN_FIELDS_KEY
    }
    known: Message = message
    for field in _fields(message):
        if field.name != "extra_json":
            item = getattr(message, field.name)
            values[field.name] = _enum_member(field, item) if field.enum_type is not None else item
            known.ClearField(field.name)
    known.ClearField("extra_json")
    # What is left after clearing every known field is what a newer version wrote.
    unknown = message.SerializeToString()
    if unknown:
        values[UNKNOWN_FIELDS_KEY] = base64.b64encode(unknown).decode()
    return CameraConfig.model_validate(values)
