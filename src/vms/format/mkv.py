"""Matroska (RFC 9559): a header with fixed places, room for Cues, then one Cluster per fragment.

Matroska counts milliseconds; a ``Void`` at the head of each Cluster holds the 90 kHz times, so that a remux to MP4
is exact, and a CRC-32 over the head. Everything that changes on close is in the first bytes of the file or in the room.
"""

import zlib
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct, error, pack, unpack_from
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import FrameFlag, VideoCodec, VideoParameters
from vms.format import ebml
from vms.format.facts import FileFacts, FileHeader, Patch, decode_facts, encode_facts
from vms.format.files import Read
from vms.format.model import Buffer, IndexRecord, Sample, SampleTable

SIGNATURE: Final = b"\x1f\x43\xb6\x75"
SIGNATURE_AT: Final = 0

_VOID: Final = 0xEC
_INFO: Final = 0x1549A966
_TRACKS: Final = 0x1654AE6B
_CUES: Final = 0x1C53BB6B
_SEEK_HEAD: Final = 0x114D9B74

_EBML_HEADER: Final = ebml.element(
    0x1A45DFA3,
    ebml.unsigned(0x4286, 1)  # EBMLVersion
    + ebml.unsigned(0x42F7, 1)  # EBMLReadVersion
    + ebml.unsigned(0x42F2, 4)  # EBMLMaxIDLength
    + ebml.unsigned(0x42F3, 8)  # EBMLMaxSizeLength
    + ebml.text(0x4282, "matroska")
    + ebml.unsigned(0x4287, 4)  # DocTypeVersion
    + ebml.unsigned(0x4285, 2),  # DocTypeReadVersion: SimpleBlock
)
_START: Final = _EBML_HEADER + ebml.identifier_bytes(0x18538067)
_SIZE_AT: Final = len(_START)  # of the Segment's size
_SEGMENT_AT: Final = _SIZE_AT + 8  # positions inside the file are relative to this
_SEEK_ROOM: Final = 96
_INFO_AT: Final = _SEGMENT_AT + _SEEK_ROOM
_NO_DURATION: Final = ebml.element(_VOID, bytes(9))
"""As long as a Duration of 8 bytes."""
_EPOCH_2001_US: Final = 978_307_200_000_000
_INT64_MAX: Final = 2**63 - 1

# Cluster and size, Timestamp, Void and size, then our facts: magic, wall, media start, flags, frame count
_HEAD: Final = Struct(">4sQ 2sQ BI 8sqqII")
_HEAD_FACTS: Final = 8 + 8 + 8 + 4 + 4
_MAGIC: Final = b"VMS-frag"
_ROW_SIZE: Final = 16  # size, duration, pts − dts, keyframe
_BLOCK: Final = Struct(">BIBhB")
_CUE_SIZE: Final = 21
_CUE: Final = Struct(">2s2sI 2s3s2s6s")

_HEADER_MAX: Final = 1 << 20
_CLUSTER_HEAD_MAX: Final = 1 << 24
_FIRST_READ: Final = 2048
_KEYFRAME: Final = int(FrameFlag.KEYFRAME)


def room_bytes(rotation_s: int) -> int:
    """Room for Cues of one keyframe per second and a fifth more, and a Void behind them."""
    return 12 + _CUE_SIZE * (rotation_s * 6 // 5 + 16) + 9


def file_header(facts: FileFacts, start_us: int) -> bytes:
    """EBML header, Segment of unknown size, Info, our facts, Tracks, and the room for Cues."""
    return b"".join((
        _START,
        ebml.UNKNOWN_SIZE,
        _void(_SEEK_ROOM),
        _info(start_us),
        ebml.element(_VOID, encode_facts(facts)),
        ebml.element(_TRACKS, _track_entry(facts.params)),
        _void(facts.room_bytes),
    ))  # fmt: skip


def _info(start_us: int) -> bytes:
    date_ns = max(-_INT64_MAX, min((start_us - _EPOCH_2001_US) * 1000, _INT64_MAX))
    return ebml.element(
        _INFO,
        ebml.unsigned(0x2AD7B1, 1_000_000)  # TimestampScale: 1 ms
        + ebml.element(0x4461, date_ns.to_bytes(8, "big", signed=True))  # DateUTC
        + ebml.text(0x4D80, "vms")  # MuxingApp
        + ebml.text(0x5741, "vms")  # WritingApp
        + _NO_DURATION,
    )


_DURATION_AT: Final = _INFO_AT + len(_info(0)) - len(_NO_DURATION)
_FACTS_AT: Final = _INFO_AT + len(_info(0))


def _track_entry(params: VideoParameters) -> bytes:
    codec = "V_MPEG4/ISO/AVC" if params.codec is VideoCodec.H264 else "V_MPEGH/ISO/HEVC"
    video = ebml.unsigned(0xB0, params.width) + ebml.unsigned(0xBA, params.height)
    rate = params.frame_rate
    duration = ebml.unsigned(0x23E383, round(1e9 / rate)) if rate and 0.01 < rate < 1e6 else b""
    return ebml.element(
        0xAE,
        ebml.unsigned(0xD7, 1)  # TrackNumber
        + ebml.unsigned(0x73C5, 1)  # TrackUID
        + ebml.unsigned(0x83, 1)  # TrackType: video
        + ebml.unsigned(0x9C, 0)  # FlagLacing
        + ebml.text(0x22B59C, "und")
        + ebml.text(0x86, codec)
        + ebml.element(0x63A2, params.codec_private)
        + duration
        + ebml.element(0xE0, video),
    )


def _void(total: int) -> bytes:
    return ebml.element(_VOID, bytes(total - 9), 8)


def read_header(read: Read) -> FileHeader:
    """Parse the start of a file. Raises VmsError(CORRUPT) when it is not a recording of ours."""
    data = read(0, _FACTS_AT + 4096)
    if not data.startswith(_START):
        raise VmsError(ErrorKind.CORRUPT, "it does not begin as a Matroska recording")
    identifier, size, payload = ebml.read_header(data, _FACTS_AT)
    if identifier != _VOID or not 0 <= size < _HEADER_MAX:
        raise VmsError(ErrorKind.CORRUPT, "it was not written by this program")
    data = read(0, payload + size + 16)
    facts = decode_facts(data[payload : payload + size])
    identifier, tracks_size, tracks_at = ebml.read_header(data, payload + size)
    if identifier != _TRACKS or not 0 <= tracks_size < _HEADER_MAX:
        raise VmsError(ErrorKind.CORRUPT, "its Tracks element is cut or damaged")
    room = tracks_at + tracks_size
    is_closed = read(room, 4) == ebml.identifier_bytes(_CUES) or data[_SIZE_AT:_SEGMENT_AT] != ebml.UNKNOWN_SIZE
    return FileHeader(facts, 0, room, room + facts.room_bytes, is_closed)


@lru_cache(maxsize=1024)
def _row_of(count: int) -> Struct:
    return Struct(f">{count}I")


def fragment_buffers(
    table: SampleTable,
    *,
    sequence: int,  # noqa: ARG001 - Matroska does not number clusters
    media_start_90k: int,
    wall_us: int,
    flags: int,
) -> tuple[list[Buffer], int]:
    """A Cluster: its head, then a block header and a payload per frame. Raises VmsError(INVALID) beyond 256 MiB."""
    sizes = table.sizes
    count = len(sizes)
    rows = [0] * (4 * count)
    rows[0::4] = sizes
    rows[1::4] = table.durations_90k
    rows[2::4] = [offset & 0xFFFFFFFF for offset in table.composition_90k]
    rows[3::4] = table.keyframes
    void_size = _HEAD_FACTS + 16 * count + 4
    cluster_ms = (media_start_90k + 45) // 90
    size = _HEAD.size - 12 + 16 * count + 4 + 9 * count + sum(sizes)
    try:
        head = _HEAD.pack(
            SIGNATURE, 1 << 56 | size, b"\xe7\x88", cluster_ms, _VOID, 1 << 28 | void_size,
            _MAGIC, wall_us, media_start_90k, flags, count,
        ) + _row_of(4 * count).pack(*rows)  # fmt: skip
        buffers: list[Buffer] = [head + pack(">I", zlib.crc32(head))]
        block = _BLOCK.pack
        dts_90k = media_start_90k + 45
        for payload, length, duration, composition, key in zip(
            table.payloads, sizes, table.durations_90k, table.composition_90k, table.keyframes, strict=True
        ):
            # RFC 9559 §10.1: signed 16 bits of milliseconds. Our own readers take the exact times from the head.
            relative_ms = max(0, (dts_90k + composition) // 90) - cluster_ms
            if not -32768 <= relative_ms <= 32767:
                relative_ms = 32767 if relative_ms > 0 else -32768
            buffers.append(block(0xA3, 1 << 28 | length + 4, 0x81, relative_ms, key << 7))
            buffers.append(payload)
            dts_90k += duration
    except error:
        raise VmsError(ErrorKind.INVALID, f"a fragment of {size} bytes does not fit into Matroska") from None
    if max(sizes) >= (1 << 28) - 5:
        raise VmsError(ErrorKind.INVALID, f"a frame of {max(sizes)} bytes does not fit into Matroska")
    return buffers, size + 12


def read_fragment(read: Read, offset: int, limit: int) -> tuple[IndexRecord, list[Sample]]:
    """The whole fragment at ``offset`` that ends at or before ``limit``. Raises VmsError(CORRUPT)."""
    data = read(offset, min(_FIRST_READ, limit - offset))
    if len(data) < _HEAD.size + 4 or not data.startswith(SIGNATURE):
        raise _not_whole(offset)
    fields = _HEAD.unpack_from(data)
    magic, wall_us, media_start_90k, flags, count = fields[6:]
    crc_at = _HEAD.size + _ROW_SIZE * count
    if magic != _MAGIC or not count or crc_at + 4 > min(_CLUSTER_HEAD_MAX, limit - offset):
        raise _not_whole(offset)
    if crc_at + 4 > len(data):
        data = read(offset, crc_at + 4)
    if int.from_bytes(data[crc_at : crc_at + 4], "big") != zlib.crc32(data[:crc_at]):
        raise _not_whole(offset)
    rows = unpack_from(f">{4 * count}I", data, _HEAD.size)
    position = offset + crc_at + 4
    dts_90k = media_start_90k
    samples = []
    for i in range(0, 4 * count, 4):
        length, duration, composition, key = rows[i : i + 4]
        pts_90k = dts_90k + composition - ((composition & 0x80000000) << 1)
        samples.append(Sample(position + _BLOCK.size, length, dts_90k, pts_90k, duration, bool(key)))
        position += _BLOCK.size + length
        dts_90k += duration
    size = (fields[1] ^ 1 << 56) + 12
    if position - offset != size or position > limit:
        raise _not_whole(offset)
    return IndexRecord(wall_us, media_start_90k, offset, size, dts_90k - media_start_90k, count, flags), samples


def _not_whole(offset: int) -> VmsError:
    return VmsError(ErrorKind.CORRUPT, f"no whole fragment at byte {offset}", offset=offset)


def closing(header: FileHeader, records: Sequence[IndexRecord], first_pts_90k: int) -> list[Patch]:
    """Cues into the room (body, then the header that makes them visible), then all that the first bytes say."""
    if not records:
        return []
    room = header.facts.room_bytes
    keyframes = [record for record in records if record.flags & _KEYFRAME] or list(records[:1])
    most = (room - 12 - 9) // _CUE_SIZE
    chosen = keyframes[:: -(-len(keyframes) // most)] if most > 0 else []
    lead_90k = first_pts_90k - records[0].media_start_90k
    cues = b"".join(_cue((r.media_start_90k + lead_90k + 45) // 90, r.offset - _SEGMENT_AT) for r in chosen)
    last = records[-1]
    at = header.room_offset
    seek = b"".join(
        ebml.element(0x4DBB, ebml.element(0x53AB, ebml.identifier_bytes(kind)) + _position(0x53AC, place - _SEGMENT_AT))
        for kind, place in ((_INFO, _INFO_AT), (_TRACKS, _tracks_at(header)), (_CUES, at))
    )
    seek_head = ebml.element(_SEEK_HEAD, seek)
    start = b"".join((
        ebml.size_field(last.offset + last.size - _SEGMENT_AT),
        seek_head,
        _void(_SEEK_ROOM - len(seek_head)),
    ))  # fmt: skip
    return [
        Patch(at + 12, cues + _void(room - 12 - len(cues))),
        Patch(at, ebml.identifier_bytes(_CUES) + ebml.size_field(len(cues))),
        Patch(_DURATION_AT, ebml.float64(0x4489, (last.media_end_90k + lead_90k) / 90)),
        Patch(_SIZE_AT, start),
    ]


def reopening(header: FileHeader) -> list[Patch]:
    """Unknown size and no Cues again: the first bytes before the room, so that no state points at what is gone."""
    if not header.is_closed:
        return []
    return [
        Patch(_SIZE_AT, ebml.UNKNOWN_SIZE + _void(_SEEK_ROOM)),
        Patch(_DURATION_AT, _NO_DURATION),
        Patch(header.room_offset, _void(header.facts.room_bytes)[:9]),
    ]


def _cue(time_ms: int, position: int) -> bytes:
    """CuePoint of 21 bytes: CueTime, CueTrackPositions of track 1 (RFC 9559 §5.1.5)."""
    return _CUE.pack(
        b"\xbb\x93", b"\xb3\x84", max(0, min(time_ms, 0xFFFFFFFF)), b"\xb7\x8b", b"\xf7\x81\x01", b"\xf1\x86",
        position.to_bytes(6, "big"),
    )  # fmt: skip


def _position(identifier: int, value: int) -> bytes:
    return ebml.element(identifier, value.to_bytes(5, "big"))


def _tracks_at(header: FileHeader) -> int:
    return header.room_offset - len(ebml.element(_TRACKS, _track_entry(header.facts.params)))
