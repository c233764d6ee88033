"""Fragmented MP4 (CMAF): ftyp, moov, room for sidx, then moof + mdat per fragment.

Each ``traf`` ends in a ``uuid`` box with what the index needs and MP4 has no field for, and a CRC-32 over all of the
``moof`` before it. All fields of a ``moof`` of ours are at fixed places.
"""

import zlib
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct, error, pack, unpack_from
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import FrameFlag
from vms.format import boxes
from vms.format.boxes import box, full_box
from vms.format.facts import MAGIC, FileFacts, FileHeader, Patch, decode_facts, encode_facts
from vms.format.files import Read
from vms.format.model import Buffer, IndexRecord, Sample, SampleTable

SIGNATURE: Final = b"moof"
SIGNATURE_AT: Final = 4

# moof, mfhd(sequence), traf, tfhd(flags, track, default sample flags), tfdt(time), trun(flags, count, data offset)
_HEAD: Final = Struct(">I4s I4sII I4s I4sIII I4sIQ I4sIIi")
_UUID: Final = Struct(">I4s16sqI")
_UUID_SIZE: Final = _UUID.size + 4
_MDAT: Final = Struct(">I4s")
_FTYP: Final = box(b"ftyp", b"iso6", bytes(4), b"iso6cmfcisommp41")

# tfhd: default-base-is-moof, default-sample-flags-present; trun v1: data offset, duration and size per sample.
_TFHD_FLAGS: Final = 0x020020
_TRUN_FLAGS: Final = 0x01000301
_TRUN_FIRST_FLAGS: Final = 0x4
_TRUN_SAMPLE_FLAGS: Final = 0x400
_TRUN_COMPOSITION: Final = 0x800
_SYNC: Final = 0x02000000  # sample_depends_on = 2: on no other (ISO/IEC 14496-12 §8.8.3.1)
_NON_SYNC: Final = 0x01010000

_HEADER_MAX: Final = 1 << 20
_MOOF_MAX: Final = 1 << 24
_FIRST_READ: Final = 2048
_SIDX_FIXED: Final = 40
_SIDX_ENTRY: Final = 12
_SIDX_ENTRIES_MAX: Final = 65535
_KEYFRAME: Final = int(FrameFlag.KEYFRAME)


def room_bytes(rotation_s: int) -> int:
    """Room for a ``sidx`` of one fragment per second and a fifth more, and the 8 bytes of a ``free`` behind it."""
    return _SIDX_FIXED + _SIDX_ENTRY * min(rotation_s * 6 // 5 + 16, _SIDX_ENTRIES_MAX) + 8


def init_segment(facts: FileFacts, start_us: int) -> bytes:
    """``ftyp`` and ``moov``: what a player needs before any fragment."""
    tables = [
        full_box(kind, 0, 0, bytes(size)) for kind, size in ((b"stts", 4), (b"stsc", 4), (b"stsz", 8), (b"stco", 4))
    ]
    tracks = boxes.movie(tables, start_us=start_us, duration_90k=0, params=[facts.params])
    trex = full_box(b"trex", 0, 0, pack(">IIIII", 1, 1, 0, 0, 0))
    return _FTYP + box(b"moov", tracks, box(b"mvex", trex), box(b"uuid", encode_facts(facts)))


def file_header(facts: FileFacts, start_us: int) -> bytes:
    """The initialisation segment and the room for ``sidx``, as a ``free`` box."""
    return init_segment(facts, start_us) + box(b"free", bytes(facts.room_bytes - 8))


def read_header(read: Read) -> FileHeader:
    """Parse the start of a file. Raises VmsError(CORRUPT) when it is not a recording of ours."""
    start = read(0, len(_FTYP) + 8)
    if not start.startswith(_FTYP) or start[-4:] != b"moov":
        raise VmsError(ErrorKind.CORRUPT, "it does not begin as an MP4 recording")
    init_size = len(_FTYP) + int.from_bytes(start[-8:-4], "big")
    data = read(0, init_size + 8) if init_size <= _HEADER_MAX else b""
    if len(data) < init_size + 8:
        raise VmsError(ErrorKind.CORRUPT, "its moov box is cut or damaged")
    for child in boxes.walk(data, len(_FTYP) + 8, init_size):
        if child.kind == b"uuid" and data.startswith(MAGIC, child.start):
            facts = decode_facts(data[child.start : child.end])
            return FileHeader(facts, init_size, init_size, init_size + facts.room_bytes, data[-4:] == b"sidx")
    raise VmsError(ErrorKind.CORRUPT, "it was not written by this program")


@lru_cache(maxsize=1024)
def _row_of(count: int) -> Struct:
    return Struct(f">{count}I")


def fragment_buffers(
    table: SampleTable, *, sequence: int, media_start_90k: int, wall_us: int, flags: int
) -> tuple[list[Buffer], int]:
    """``moof`` and ``mdat`` header as one buffer, then the payloads. Raises VmsError(INVALID) beyond 4 GiB."""
    sizes = table.sizes
    count = len(sizes)
    keyframes = table.keyframes
    trun_flags = _TRUN_FLAGS
    columns = [table.durations_90k, sizes]
    extra: tuple[int, ...] = ()
    if any(keyframes[1:]):
        trun_flags |= _TRUN_SAMPLE_FLAGS
        columns.append([_SYNC if key else _NON_SYNC for key in keyframes])
    else:
        trun_flags |= _TRUN_FIRST_FLAGS
        extra = (_SYNC if keyframes[0] else _NON_SYNC,)
    if any(table.composition_90k):
        trun_flags |= _TRUN_COMPOSITION
        columns.append([offset & 0xFFFFFFFF for offset in table.composition_90k])
    width = len(columns)
    rows = [0] * (width * count)
    for number, column in enumerate(columns):
        rows[number::width] = column
    row_bytes = 4 * (len(extra) + len(rows))
    moof_size = _HEAD.size + row_bytes + _UUID_SIZE
    payload_size = sum(sizes)
    try:
        moof = b"".join((
            _HEAD.pack(
                moof_size, b"moof",
                16, b"mfhd", 0, sequence,
                moof_size - 24, b"traf",
                20, b"tfhd", _TFHD_FLAGS, 1, _NON_SYNC,
                20, b"tfdt", 0x01000000, media_start_90k,
                20 + row_bytes, b"trun", trun_flags, count, moof_size + 8,
            ),
            _row_of(len(extra) + len(rows)).pack(*extra, *rows),
            _UUID.pack(_UUID_SIZE, b"uuid", MAGIC, wall_us, flags),
        ))  # fmt: skip
        head = b"".join((moof, pack(">I", zlib.crc32(moof)), _MDAT.pack(payload_size + 8, b"mdat")))
    except error:
        raise VmsError(ErrorKind.INVALID, f"a fragment of {payload_size} bytes does not fit into MP4") from None
    return [head, *table.payloads], len(head) + payload_size


def read_fragment(read: Read, offset: int, limit: int) -> tuple[IndexRecord, list[Sample]]:
    """The whole fragment at ``offset`` that ends at or before ``limit``. Raises VmsError(CORRUPT)."""
    data = read(offset, min(_FIRST_READ, limit - offset))
    moof_size = int.from_bytes(data[:4], "big")
    if data[4:8] != b"moof" or not _HEAD.size + _UUID_SIZE < moof_size <= min(_MOOF_MAX, limit - offset - 8):
        raise _not_whole(offset)
    if moof_size + 8 > len(data):
        data = read(offset, moof_size + 8)
    crc_at = moof_size - 4
    if len(data) < moof_size + 8 or int.from_bytes(data[crc_at:moof_size], "big") != zlib.crc32(data[:crc_at]):
        raise _not_whole(offset)
    mdat_size, mdat_kind = _MDAT.unpack_from(data, moof_size)
    wall_us, flags = _UUID.unpack_from(data, moof_size - _UUID_SIZE)[3:]
    media_start_90k, trun_flags, count, data_offset = (_HEAD.unpack_from(data)[i] for i in (16, 19, 20, 21))
    samples = _read_rows(data, moof_size, trun_flags, count, offset + data_offset, media_start_90k)
    size = moof_size + mdat_size
    if mdat_kind != b"mdat" or mdat_size != 8 + sum(s.size for s in samples) or offset + size > limit:
        raise _not_whole(offset)
    duration_90k = samples[-1].dts_90k + samples[-1].duration_90k - media_start_90k
    return IndexRecord(wall_us, media_start_90k, offset, size, duration_90k, count, flags), samples


def _read_rows(data: bytes, moof_size: int, trun_flags: int, count: int, position: int, dts_90k: int) -> list[Sample]:
    """The samples of a ``trun`` that was written by :func:`fragment_buffers`."""
    has_first_flags = bool(trun_flags & _TRUN_FIRST_FLAGS)
    has_flags = bool(trun_flags & _TRUN_SAMPLE_FLAGS)
    has_composition = bool(trun_flags & _TRUN_COMPOSITION)
    width = 2 + has_flags + has_composition
    if not count or _HEAD.size + 4 * (has_first_flags + width * count) + _UUID_SIZE != moof_size:
        raise VmsError(ErrorKind.CORRUPT, "the fragment has a layout that this version does not know")
    values = unpack_from(f">{has_first_flags + width * count}I", data, _HEAD.size)
    first_flags = values[0] if has_first_flags else _NON_SYNC
    rows = values[has_first_flags:]
    samples = []
    for number in range(count):
        row = rows[number * width : (number + 1) * width]
        sample_flags = row[2] if has_flags else first_flags if number == 0 else _NON_SYNC
        composition = row[-1] - ((row[-1] & 0x80000000) << 1) if has_composition else 0
        samples.append(Sample(position, row[1], dts_90k, dts_90k + composition, row[0], sample_flags == _SYNC))
        position += row[1]
        dts_90k += row[0]
    return samples


def _not_whole(offset: int) -> VmsError:
    return VmsError(ErrorKind.CORRUPT, f"no whole fragment at byte {offset}", offset=offset)


def closing(header: FileHeader, records: Sequence[IndexRecord], first_pts_90k: int) -> list[Patch]:
    """``sidx`` in the room: all of it but its header, and only then the header that makes it visible."""
    room = header.facts.room_bytes
    references = _references(records, (room - _SIDX_FIXED - 8) // _SIDX_ENTRY)
    if not references or max(size for size, _, _ in references) > 0x7FFFFFFF:
        return []
    size = _SIDX_FIXED + _SIDX_ENTRY * len(references)
    # first_offset (§8.16.3) counts from the end of the sidx: the rest of the room lies between.
    body = pack(">IIIQQHH", 1 << 24, 1, boxes.TIMESCALE, first_pts_90k, room - size, 0, len(references))
    entries = b"".join(
        pack(">III", length, min(duration, 0xFFFFFFFF), 0x90000000 if starts_with_keyframe else 0)
        for length, duration, starts_with_keyframe in references
    )
    rest = _MDAT.pack(room - size, b"free")
    at = header.room_offset
    return [Patch(at + 8, body + entries + rest), Patch(at, _MDAT.pack(size, b"sidx"))]


def reopening(header: FileHeader) -> list[Patch]:
    """One write of 8 bytes makes the whole room a ``free`` box again."""
    return [Patch(header.room_offset, _MDAT.pack(header.facts.room_bytes, b"free"))] if header.is_closed else []


def _references(records: Sequence[IndexRecord], room: int) -> list[tuple[int, int, bool]]:
    """(size, duration until the next, starts with a keyframe) per subsegment; neighbours are merged to fit."""
    if not records or room <= 0:
        return []
    starts = list(range(len(records)))
    if len(starts) > room:
        starts = [i for i in starts if i == 0 or records[i].flags & _KEYFRAME]
    if len(starts) > room:
        starts = starts[:: -(-len(starts) // room)]
    last = records[-1]
    ends = [records[i] for i in starts[1:]]
    offsets = [r.offset for r in ends] + [last.offset + last.size]
    times = [r.media_start_90k for r in ends] + [last.media_end_90k]
    return [
        (offset - records[i].offset, time - records[i].media_start_90k, bool(records[i].flags & _KEYFRAME))
        for i, offset, time in zip(starts, offsets, times, strict=True)
    ]
