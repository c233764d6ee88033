"""The facts block: what a media file says of itself beyond what its container has room for.

Both containers carry the same bytes, in a box or element that players skip (``uuid`` inside ``moov``; ``Void``). It
makes a file a recording of ours: without a valid block it is not touched.
"""

import base64
import binascii
import json
import math
import zlib
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec, VideoParameters
from vms.common.types import CameraId, parse_camera_id

MAGIC: Final = bytes.fromhex("a7b5465e1c7d4d3f9a0e564d532d7265")
"""The extended type (UUID) of the block; its last bytes spell VMS-re."""

_VERSION: Final = 1
_ROOM_MIN: Final = 128
_ROOM_MAX: Final = 1 << 26
_SIZE_MAX: Final = 65535


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Who was recorded, how it is coded, and how many bytes are reserved for the seek table."""

    camera_id: CameraId
    params: VideoParameters
    room_bytes: int


class FileHeader(NamedTuple):
    """What comes before the first fragment of a file."""

    facts: FileFacts
    init_size: int  # bytes from the start that are an fMP4 initialisation segment; 0 in Matroska
    room_offset: int  # where the room for the seek table begins
    data_start: int  # where the first fragment begins
    is_closed: bool  # the seek table is in place


class Patch(NamedTuple):
    """Bytes to overwrite in a header."""

    offset: int
    data: bytes


def encode_facts(facts: FileFacts) -> bytes:
    """Magic, one JSON object, CRC-32 (big-endian) of both."""
    params = facts.params
    body = {
        "version": _VERSION,
        "camera_id": facts.camera_id,
        "codec": params.codec.value,
        "codec_string": params.codec_string,
        "codec_private": base64.b64encode(params.codec_private).decode(),
        "width": params.width,
        "height": params.height,
        "frame_rate": params.frame_rate,
        "reorder_frames": params.reorder_frames,
        "room_bytes": facts.room_bytes,
    }
    block = MAGIC + json.dumps(body, separators=(",", ":")).encode()
    return block + zlib.crc32(block).to_bytes(4, "big")


def decode_facts(block: bytes) -> FileFacts:
    """The facts of a block as written by :func:`encode_facts`. Raises VmsError(CORRUPT)."""
    if not block.startswith(MAGIC) or zlib.crc32(block[:-4]).to_bytes(4, "big") != block[-4:]:
        raise VmsError(ErrorKind.CORRUPT, "its facts block is damaged")
    try:
        return _facts_from_json(json.loads(block[len(MAGIC) : -4]))
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error, VmsError):
        raise VmsError(ErrorKind.CORRUPT, "its facts block says something that this version does not know") from None


def _facts_from_json(body: dict[str, Any]) -> FileFacts:
    if body["version"] != _VERSION:
        raise ValueError(body["version"])
    rate = body["frame_rate"]
    if rate is not None and not (isinstance(rate, float | int) and math.isfinite(rate)):
        raise ValueError(rate)
    params = VideoParameters(
        codec=VideoCodec(body["codec"]),
        width=_between(body["width"], 0, _SIZE_MAX),
        height=_between(body["height"], 0, _SIZE_MAX),
        codec_private=base64.b64decode(body["codec_private"], validate=True),
        codec_string=str(body["codec_string"]),
        frame_rate=rate,
        reorder_frames=_between(body["reorder_frames"], 0, _SIZE_MAX),
    )
    return FileFacts(parse_camera_id(body["camera_id"]), params, _between(body["room_bytes"], _ROOM_MIN, _ROOM_MAX))


def _between(value: object, lowest: int, highest: int) -> int:
    if not isinstance(value, int) or not lowest <= value <= highest:
        raise ValueError(value)
    return value
