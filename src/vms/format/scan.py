"""Finding whole fragments in a media file without its index."""

from collections.abc import Iterator
from typing import Final

from vms.common.errors import VmsError
from vms.format.container import Format
from vms.format.files import Read
from vms.format.model import IndexRecord, Sample

_CHUNK: Final = 1 << 20


def whole_fragments(
    read: Read, form: Format, start: int, limit: int, *, check_frames: bool = False
) -> Iterator[IndexRecord]:
    """The records of the whole fragments that follow one another from ``start``; stops at the first that is not whole.

    ``check_frames`` also rejects fragments with a frame that begins in zeros. That is how a power cut leaves
    frames that were not on the disk yet, and never how one begins: a NAL unit is not empty.
    """
    while start < limit:
        try:
            record, samples = form.read_fragment(read, start, limit)
        except VmsError:
            return
        if check_frames and not frames_begin_well(read, samples):
            return
        yield record
        start += record.size


def frames_begin_well(read: Read, samples: list[Sample]) -> bool:
    """Whether no frame begins with a NAL unit of length 0."""
    return all(any(read(sample.offset, min(4, sample.size))) for sample in samples)


def find_fragment(read: Read, form: Format, start: int, limit: int) -> int | None:
    """Position of the first recognisable whole fragment at or after ``start``, if there is one."""
    signature = form.SIGNATURE
    position = start
    while position < limit:
        chunk = read(position, min(_CHUNK, limit - position))
        at = chunk.find(signature)
        while at >= 0:
            candidate = position + at - form.SIGNATURE_AT
            if candidate >= start and _is_whole(read, form, candidate, limit):
                return candidate
            at = chunk.find(signature, at + 1)
        if len(chunk) <= len(signature):
            return None
        position += len(chunk) - len(signature) + 1
    return None


def _is_whole(read: Read, form: Format, offset: int, limit: int) -> bool:
    try:
        form.read_fragment(read, offset, limit)
    except VmsError:
        return False
    return True
