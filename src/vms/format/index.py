"""The index file ``.vms-idx``: one JSON header line, then fixed-width records sorted by wall time.

The header holds only what the media file says as well, so that an index rebuilt from the media file is equal to the
lost one byte by byte.
"""

import contextlib
import json
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import Final, overload

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container, FrameFlag
from vms.format.facts import FileFacts
from vms.format.model import IndexRecord

RECORD_SIZE: Final = 44

_BODY: Final = Struct("<qqQIIII")
_CRC: Final = Struct("<I")
_WALL: Final = Struct("<q")
_HEADER_MAX: Final = 4096
_KEYFRAME: Final = int(FrameFlag.KEYFRAME)


def header_line(facts: FileFacts, container: Container) -> bytes:
    """The first line of the index of a file with these facts."""
    params = facts.params
    header = {
        "format": "vms-idx",
        "version": 1,
        "record": "<qqQIIIII",
        "timescale": 90000,
        "camera_id": facts.camera_id,
        "container": container.value,
        "codec": params.codec.value,
        "codec_string": params.codec_string,
        "width": params.width,
        "height": params.height,
    }
    return json.dumps(header, separators=(",", ":")).encode() + b"\n"


def pack_record(record: IndexRecord) -> bytes:
    """The 44 bytes of a record, CRC-32 of the first 40 last."""
    body = _BODY.pack(*record)
    return body + _CRC.pack(zlib.crc32(body))


class IndexView(Sequence[IndexRecord]):
    """A snapshot of an index. Costs no more than its bytes: records are decoded when asked for.

    The bytes are read, not mapped: repair may cut an index that a reader in another process holds, and touching a
    mapped page behind the end of a file kills the process. A torn last record, or last records that a power cut left
    damaged, are not part of the view; a damaged record in the middle raises VmsError(CORRUPT) when it is read.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.header_size = _header_size(data)
        self._count = (len(data) - self.header_size) // RECORD_SIZE
        while self._count and not self._is_valid(self._count - 1):
            self._count -= 1

    @classmethod
    def load(cls, path: Path) -> "IndexView":
        """Read the index at ``path``. Raises VmsError(CORRUPT) when it is not one, NOT_FOUND when there is none."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise VmsError(ErrorKind.NOT_FOUND, f"{path} is missing: run 'vms storage check --repair'") from None
        except OSError as error:
            raise VmsError(ErrorKind.STORAGE, f"cannot read {path}: {error.strerror}") from None
        return cls(data)

    @property
    def header(self) -> bytes:
        """The header line with its line feed."""
        return self._data[: self.header_size]

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, number: int) -> IndexRecord: ...
    @overload
    def __getitem__(self, number: slice) -> list[IndexRecord]: ...
    def __getitem__(self, number: int | slice) -> IndexRecord | list[IndexRecord]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(self._count))]
        if number < 0:
            number += self._count
        if not 0 <= number < self._count:
            raise IndexError(number)
        if not self._is_valid(number):
            raise _damaged(number)
        return IndexRecord._make(_BODY.unpack_from(self._data, self._at(number)))

    def __iter__(self) -> Iterator[IndexRecord]:
        data = self._data
        crc32, make, unpack = zlib.crc32, IndexRecord._make, _BODY.unpack_from
        for at in range(self.header_size, self.header_size + self._count * RECORD_SIZE, RECORD_SIZE):
            body_end = at + _BODY.size
            if crc32(data[at:body_end]) != int.from_bytes(data[body_end : body_end + 4], "little"):
                raise _damaged((at - self.header_size) // RECORD_SIZE)
            yield make(unpack(data, at))

    def find(self, wall_us: int) -> int:
        """Number of the last record that starts at or before ``wall_us``; -1 when all start later."""
        return bisect_right(range(self._count), wall_us, key=self._wall_start) - 1

    def overlapping(self, start_us: int, end_us: int) -> range:
        """Numbers of the records that hold a frame between the times, from the keyframe needed to decode the first."""
        first = max(0, self.find(start_us))
        stop = bisect_left(range(self._count), end_us, key=self._wall_start)
        if first < stop and self[first].wall_end_us <= start_us:
            first += 1
        if first >= stop:
            return range(0)
        while first > 0 and not self[first].flags & _KEYFRAME:
            first -= 1
        return range(first, stop)

    def valid_prefix(self) -> list[IndexRecord]:
        """The records up to the first damaged one."""
        records: list[IndexRecord] = []
        with contextlib.suppress(VmsError):
            records.extend(self)
        return records

    def _at(self, number: int) -> int:
        return self.header_size + number * RECORD_SIZE

    def _wall_start(self, number: int) -> int:
        wall_us: int = _WALL.unpack_from(self._data, self._at(number))[0]
        return wall_us

    def _is_valid(self, number: int) -> bool:
        at = self._at(number)
        crc: int = _CRC.unpack_from(self._data, at + _BODY.size)[0]
        return zlib.crc32(self._data[at : at + _BODY.size]) == crc


def _damaged(number: int) -> VmsError:
    message = f"index record {number} is damaged: run 'vms storage check --repair'"
    return VmsError(ErrorKind.CORRUPT, message, record=number)


def _header_size(data: bytes) -> int:
    end = data.find(b"\n", 0, _HEADER_MAX)
    try:
        header = json.loads(data[:end]) if end > 0 else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("format") != "vms-idx" or header.get("version") != 1:
        raise VmsError(ErrorKind.CORRUPT, "not an index of this version: run 'vms storage check --repair'")
    return end + 1
