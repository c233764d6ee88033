from pathlib import Path

import pytest
from tests.support.recordings import fragment, index_of, record

from vms.common.stream import Container
from vms.format.container import FORMATS
from vms.format.files import Read
from vms.format.index import IndexView
from vms.format.scan import find_fragment, frames_begin_well, whole_fragments

both = pytest.mark.parametrize("container", list(Container))


def reader(data: bytes) -> Read:
    return lambda offset, size: data[offset : offset + size]


@both
def test_fragments_are_found_one_after_the_other(tmp_path: Path, container: Container) -> None:
    path = record(tmp_path, [fragment(i) for i in range(5)], container)
    data = path.read_bytes()
    records = list(IndexView(index_of(path)))
    form = FORMATS[container]
    assert list(whole_fragments(reader(data), form, records[0].offset, len(data))) == records
    assert list(whole_fragments(reader(data), form, records[2].offset, len(data) - 1)) == records[2:-1]


@both
def test_frames_that_are_zeros_are_not_whole_when_asked_for(tmp_path: Path, container: Container) -> None:
    path = record(tmp_path, [fragment(0), fragment(1)], container)
    data = bytearray(path.read_bytes())
    first, second = IndexView(index_of(path))
    form = FORMATS[container]
    samples = form.read_fragment(reader(bytes(data)), second.offset, len(data))[1]
    assert frames_begin_well(reader(bytes(data)), samples)
    data[samples[-1].offset :] = bytes(len(data) - samples[-1].offset)
    read = reader(bytes(data))
    assert list(whole_fragments(read, form, first.offset, len(data))) == [first, second]
    assert list(whole_fragments(read, form, first.offset, len(data), check_frames=True)) == [first]


@both
@pytest.mark.parametrize("noise", [0, 1, 77, (1 << 20) - 3, (1 << 20) + 5])
def test_a_fragment_is_found_behind_any_amount_of_noise(tmp_path: Path, container: Container, noise: int) -> None:
    path = record(tmp_path, [fragment(0)], container)
    form = FORMATS[container]
    (only,) = IndexView(index_of(path))
    whole = path.read_bytes()[only.offset :]
    data = (form.SIGNATURE + b"moof?").ljust(noise, b"x")[:noise] + whole
    assert find_fragment(reader(data), form, 0, len(data)) == noise
    assert find_fragment(reader(data), form, noise + 1, len(data)) is None
    assert find_fragment(reader(data), form, 0, len(data) - 1) is None


@both
def test_nothing_is_found_in_nothing(container: Container) -> None:
    assert find_fragment(reader(b""), FORMATS[container], 0, 10) is None
    assert find_fragment(reader(bytes(3000)), FORMATS[container], 0, 3000) is None
