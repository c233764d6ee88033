import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.recordings import CAMERA, FACTS

from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import VideoCodec, VideoParameters
from vms.format.facts import MAGIC, FileFacts, decode_facts, encode_facts

some_facts = st.builds(
    FileFacts,
    st.just(CAMERA),
    st.builds(
        VideoParameters,
        codec=st.sampled_from(VideoCodec),
        width=st.integers(0, 65535),
        height=st.integers(0, 65535),
        codec_private=st.binary(max_size=300),
        codec_string=st.text(max_size=30),
        frame_rate=st.none() | st.floats(allow_nan=False, allow_infinity=False),
        reorder_frames=st.integers(0, 16),
    ),
    st.integers(128, 1 << 26),
)


@given(some_facts)
def test_facts_are_read_back_as_they_were(facts: FileFacts) -> None:
    assert decode_facts(encode_facts(facts)) == facts


@given(st.integers(0, len(encode_facts(FACTS)) * 8 - 1))
def test_a_flipped_bit_is_noticed(bit: int) -> None:
    block = bytearray(encode_facts(FACTS))
    block[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VmsError) as caught:
        decode_facts(bytes(block))
    assert caught.value.kind is ErrorKind.CORRUPT


def _block(body: bytes) -> bytes:
    return MAGIC + body + zlib.crc32(MAGIC + body).to_bytes(4, "big")


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"codec": "vp9"},
        {"width": -1},
        {"height": "high"},
        {"camera_id": "../etc"},
        {"camera_id": 5},
        {"room_bytes": 1},
        {"frame_rate": "fast"},
        {"codec_private": "*"},
    ],
)
def test_a_block_that_says_something_impossible_is_refused(change: dict[str, object]) -> None:
    body = json.loads(encode_facts(FACTS)[len(MAGIC) : -4]) | change
    with pytest.raises(VmsError, match="does not know"):
        decode_facts(_block(json.dumps(body).encode()))


@given(st.binary(max_size=100) | st.sampled_from([b"[]", b"{}", b"\xff", b"[" * 100_000]))
def test_a_block_that_is_not_our_json_is_refused(body: bytes) -> None:
    with pytest.raises(VmsError):
        decode_facts(_block(body))
