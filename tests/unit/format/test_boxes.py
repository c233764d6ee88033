import contextlib

from hypothesis import given
from hypothesis import strategies as st
from tests.support.recordings import PARAMS, START_US

from vms.common.errors import VmsError
from vms.format.boxes import Box, box, edit_list, full_box, movie, sample_entry, walk


@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.binary(max_size=50)), max_size=10))
def test_boxes_are_walked_as_they_were_composed(items: list[tuple[bytes, bytes]]) -> None:
    data = b"".join(box(kind, payload) for kind, payload in items)
    assert [(b.kind, data[b.start : b.end]) for b in walk(data)] == items


@given(st.binary(max_size=100))
def test_walking_any_bytes_ends_or_raises_vms_error(data: bytes) -> None:
    with contextlib.suppress(VmsError):
        assert all(b.end <= len(data) for b in walk(data))


def test_a_64_bit_size_is_understood() -> None:
    data = b"\0\0\0\1mdat" + (18).to_bytes(8, "big") + b"ab"
    assert list(walk(data)) == [Box(b"mdat", 16, 18)]


def test_a_full_box_begins_with_version_and_flags() -> None:
    assert full_box(b"test", 1, 0x20304, b"x") == b"\0\0\0\x0dtest\x01\x02\x03\x04x"


def test_a_movie_holds_a_header_and_one_video_track() -> None:
    data = movie([], start_us=START_US, duration_90k=90_000, params=[PARAMS], edit=edit_list(90_000, 7200))
    kinds = {b.kind: b for b in walk(data)}
    assert list(kinds) == [b"mvhd", b"trak"]
    track = kinds[b"trak"]
    assert [b.kind for b in walk(data, track.start, track.end)] == [b"tkhd", b"edts", b"mdia"]


def test_a_sample_entry_carries_size_and_decoder_configuration() -> None:
    entry = sample_entry(PARAMS)
    assert entry[4:8] == b"avc1"
    assert entry[32:36] == (320).to_bytes(2, "big") + (240).to_bytes(2, "big")
    assert entry.endswith(b"avcC" + PARAMS.codec_private)
