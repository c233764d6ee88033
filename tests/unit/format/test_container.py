import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.recordings import FACTS, START_US, fragment, random_fragments

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container
from vms.format.container import FORMATS
from vms.format.files import Read
from vms.format.model import Fragment, IndexRecord, Sample, SampleTable, sample_table

both = pytest.mark.parametrize("container", list(Container))


def reader(data: bytes) -> Read:
    return lambda offset, size: data[offset : offset + size]


def fragment_bytes(container: Container, part: Fragment, media_start_90k: int = 0) -> bytes:
    buffers, size = FORMATS[container].fragment_buffers(
        sample_table(part), sequence=1, media_start_90k=media_start_90k, wall_us=part.wall_us, flags=part.flags
    )
    data = b"".join(buffers)
    assert len(data) == size
    return data


@both
@settings(max_examples=60)
@given(parts=random_fragments(max_fragments=2), media_start_90k=st.integers(0, 2**40), before=st.binary(max_size=9))
def test_a_fragment_is_read_back_exactly(
    container: Container, parts: list[Fragment], media_start_90k: int, before: bytes
) -> None:
    part = parts[-1]
    data = before + fragment_bytes(container, part, media_start_90k)
    record, samples = FORMATS[container].read_fragment(reader(data), len(before), len(data))
    first = part.units[0].dts_90k
    size = len(data) - len(before)
    frames = len(part.units)
    assert record == IndexRecord(
        part.wall_us, media_start_90k, len(before), size, part.duration_90k, frames, part.flags
    )
    assert [data[s.offset : s.offset + s.size] for s in samples] == [unit.payload for unit in part.units]
    times = [(s.dts_90k - media_start_90k, s.pts_90k - s.dts_90k, s.is_keyframe) for s in samples]
    assert times == [(u.dts_90k - first, u.pts_90k - u.dts_90k, u.is_keyframe) for u in part.units]
    assert samples[-1].dts_90k + samples[-1].duration_90k == media_start_90k + part.duration_90k


@both
def test_a_fragment_with_more_frames_than_the_first_read_holds_is_read(container: Container) -> None:
    data = fragment_bytes(container, fragment(0, frames=1000))
    _, samples = FORMATS[container].read_fragment(reader(data), 0, len(data))
    assert len(samples) == 1000


@both
def test_a_fragment_that_is_cut_anywhere_is_not_whole(container: Container) -> None:
    data = fragment_bytes(container, fragment(0, frames=4))
    for size in range(len(data)):
        with pytest.raises(VmsError) as caught:
            FORMATS[container].read_fragment(reader(data[:size]), 0, size)
        assert caught.value.kind is ErrorKind.CORRUPT


@both
@settings(max_examples=200)
@given(st.data())
def test_damage_in_a_fragments_head_is_noticed(container: Container, data: st.DataObject) -> None:
    whole = fragment_bytes(container, fragment(0, frames=3))
    record, samples = FORMATS[container].read_fragment(reader(whole), 0, len(whole))
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    damaged = bytearray(whole)
    damaged[bit // 8] ^= 1 << bit % 8
    found: tuple[IndexRecord, list[Sample]] | None = None
    with contextlib.suppress(VmsError):
        found = FORMATS[container].read_fragment(reader(bytes(damaged)), 0, len(whole))
    assert found is None or found == (record, samples)


@both
@given(data=st.binary(max_size=300))
def test_any_bytes_are_no_fragment_and_no_header(container: Container, data: bytes) -> None:
    form = FORMATS[container]
    start = form.SIGNATURE.rjust(form.SIGNATURE_AT + 4, b"\0")
    for text in (data, start + data):
        with pytest.raises(VmsError):
            form.read_fragment(reader(text), 0, len(text))
        with pytest.raises(VmsError):
            form.read_header(reader(text))


@both
@given(rotation_s=st.integers(1, 100_000))
def test_a_header_is_read_back(container: Container, rotation_s: int) -> None:
    form = FORMATS[container]
    room = min(form.room_bytes(rotation_s), 1 << 16)
    facts = type(FACTS)(FACTS.camera_id, FACTS.params, room)
    data = form.file_header(facts, START_US)
    header = form.read_header(reader(data))
    assert header.facts == facts
    assert header.data_start == len(data) == header.room_offset + room
    assert not header.is_closed


@both
def test_a_header_that_is_cut_or_flipped_raises_only_vms_error(container: Container) -> None:
    form = FORMATS[container]
    data = form.file_header(FACTS, START_US)
    facts_end = data.rfind(b"}") + 5
    for size in range(facts_end):
        with pytest.raises(VmsError):
            form.read_header(reader(data[:size]))
    for position in range(form.read_header(reader(data)).room_offset):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        with contextlib.suppress(VmsError):
            form.read_header(reader(bytes(damaged)))


@both
def test_closing_and_reopening_restore_the_header_byte_by_byte(container: Container) -> None:
    form = FORMATS[container]
    data = bytearray(form.file_header(FACTS, START_US))
    before = bytes(data)
    header = form.read_header(reader(before))
    records = [IndexRecord(START_US, i * 90_000, header.data_start + i * 10, 10, 90_000, 25, 1) for i in range(9)]
    for patch in form.closing(header, records, 0):
        data[patch.offset : patch.offset + len(patch.data)] = patch.data
    closed = form.read_header(reader(bytes(data)))
    assert closed.is_closed
    assert len(data) == len(before)
    for patch in form.reopening(closed):
        data[patch.offset : patch.offset + len(patch.data)] = patch.data
    reopened = form.read_header(reader(bytes(data)))
    assert reopened == header
    assert bytes(data[: header.room_offset + 8]) == before[: header.room_offset + 8]


@both
def test_every_state_between_open_and_closed_is_readable_and_can_be_reopened(container: Container) -> None:
    form = FORMATS[container]
    header = form.read_header(reader(form.file_header(FACTS, START_US)))
    records = [IndexRecord(START_US, 0, header.data_start, 10, 90_000, 25, 1)]
    patches = form.closing(header, records, 0)
    for done in range(len(patches) + 1):
        data = bytearray(form.file_header(FACTS, START_US))
        for patch in patches[:done]:
            data[patch.offset : patch.offset + len(patch.data)] = patch.data
        between = form.read_header(reader(bytes(data)))
        assert between.facts == FACTS
        for patch in form.reopening(between):
            data[patch.offset : patch.offset + len(patch.data)] = patch.data
        assert form.read_header(reader(bytes(data))) == header


@both
def test_a_frame_that_the_container_cannot_hold_is_refused(container: Container) -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 1 << 32

    table = SampleTable([Huge()], [1 << 32], [3600], [0], [1])
    with pytest.raises(VmsError, match="does not fit") as caught:
        FORMATS[container].fragment_buffers(table, sequence=1, media_start_90k=0, wall_us=0, flags=1)
    assert caught.value.kind is ErrorKind.INVALID


@both
def test_no_records_make_no_seek_table(container: Container) -> None:
    form = FORMATS[container]
    assert form.closing(form.read_header(reader(form.file_header(FACTS, START_US))), [], 0) == []
