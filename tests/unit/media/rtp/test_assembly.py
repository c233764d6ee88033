"""The unit in progress: lengths, dropped fragments, bounds."""

import pytest

from vms.common.errors import ErrorKind, VmsError
from vms.media.nal import join_lengths
from vms.media.rtp.assembly import FAR, MAX_UNIT_BYTES, MAX_UNIT_NALS, UnitAssembly


class H264Assembly(UnitAssembly):
    _fragment_header = 2


def test_whole_and_fragmented_nal_units_get_their_lengths() -> None:
    unit = H264Assembly()
    unit._whole(b"\x67sps", 7)
    unit._open_fragments(0x65, 0x7C05, b"first")
    unit._parts.append(b"middle")
    unit._close_fragments(5)
    assert unit._kinds == 1 << 7 | 1 << 5
    assert unit._take_payload() == join_lengths([b"\x67sps", b"\x65firstmiddle"])
    assert (unit._parts, unit._kinds, unit._corrupt) == ([], 0, False)


def test_an_unfinished_nal_unit_leaves_no_trace_but_the_flag() -> None:
    unit = H264Assembly()
    unit._whole(b"\x41whole", 1)
    unit._open_fragments(0x65, 0x7C05, b"first")
    unit._drop_fragments()
    assert unit._kinds == 1 << 1
    assert unit._corrupt
    assert unit._run_step == FAR
    assert unit._take_payload() == join_lengths([b"\x41whole"])


def test_a_new_start_drops_what_never_ended() -> None:
    unit = H264Assembly()
    unit._open_fragments(0x65, 0x7C05, b"lost")
    unit._open_fragments(0x41, 0x5C01, b"kept")
    unit._close_fragments(1)
    assert unit._corrupt
    assert unit._take_payload() == join_lengths([b"\x41kept"])


def test_too_many_nal_units_are_a_protocol_error() -> None:
    unit = H264Assembly()
    for _ in range(MAX_UNIT_NALS):
        unit._whole(b"\x41", 1)
    with pytest.raises(VmsError, match="NAL units") as caught:
        unit._whole(b"\x41", 1)
    assert caught.value.kind is ErrorKind.PROTOCOL


def test_too_many_bytes_are_a_protocol_error() -> None:
    unit = H264Assembly()
    unit._whole(bytes(MAX_UNIT_BYTES), 1)
    with pytest.raises(VmsError, match="16 MB") as caught:
        unit._take_payload()
    assert caught.value.kind is ErrorKind.PROTOCOL
