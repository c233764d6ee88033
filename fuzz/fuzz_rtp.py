"""Fuzz target for the receive loop and the bitstream parsers: only VmsError may come out.

With atheris (``pip install atheris``), guided by coverage, until it is stopped or finds something::

    python fuzz/fuzz_rtp.py -max_len=65536 [CORPUS_DIRECTORY]

An input that the fuzzer saved is tried again with ``python fuzz/fuzz_rtp.py FILE``.

The first byte chooses codec, split and parser. For the receive loop the input stands behind a keyframe; as raw bytes of
the connection, or cut into payloads (length byte, header byte, payload) that get sound RTP headers.
"""

import contextlib
import struct
import sys

from vms.common.errors import VmsError
from vms.common.stream import VideoCodec
from vms.media import h264, h265, nal
from vms.media.rtp.payload import make_receiver
from vms.media.rtp.rtcp import parse_rtcp
from vms.media.rtp.units import UnitBuilder

H264_SETS = (bytes.fromhex("6764001fac2ca501e0089f961000000300100000030328f162ea"), bytes.fromhex("68ee3c80"))


def test_one_input(data: bytes) -> None:
    """Feed one input to the part that its first byte chooses."""
    choice, rest = (data[0], data[1:]) if data else (0, b"")
    codec = VideoCodec.H265 if choice & 1 else VideoCodec.H264
    if choice & 2:
        _receive(codec, rest, pieces=1 + (choice >> 3))
    elif choice & 4:
        _receive(codec, _packets(rest), pieces=1 + (choice >> 3))
    else:
        _parse(rest)


def _receive(codec: VideoCodec, data: bytes, *, pieces: int) -> None:
    builder = UnitBuilder(codec, H264_SETS, lambda _: None, lambda unit: list(nal.split_lengths(unit.payload)).clear())
    receiver = make_receiver(codec, payload_type=96, channels=(0, 1), builder=builder, on_message=lambda _: None)
    keyframe = b"\x26\x01k" if codec is VideoCodec.H265 else b"\x65\x88k"
    receiver.feed(_packet(0, 0, keyframe, marker=True), 0)
    size = len(data) // pieces + 1
    with contextlib.suppress(VmsError):
        for n in range(pieces):
            receiver.feed(data[n * size : (n + 1) * size], 40_000 * n)
        receiver.finish()


def _packets(data: bytes) -> bytes:
    """Each record of length, flags and payload becomes a packet; the flags say whether anything is odd about it."""
    packets, position, sequence, timestamp = [], 0, 1, 3600
    while position + 2 <= len(data):
        size, flags = data[position], data[position + 1]
        payload = data[position + 2 : position + 2 + size]
        position += 2 + size
        sequence += 2 if flags & 0x40 else 1
        timestamp += 3600 if flags & 0x20 else 0
        packets.append(_packet(sequence, timestamp, payload, marker=bool(flags & 0x80)))
    return b"".join(packets)


def _packet(sequence: int, timestamp: int, payload: bytes, *, marker: bool) -> bytes:
    kind = 96 | 0x80 * marker
    header = struct.pack(">BBHII", 0x80, kind, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, 7)
    return b"$\x00" + struct.pack(">H", len(header) + len(payload)) + header + payload


def _parse(data: bytes) -> None:
    for parse in (h264.parse_sps, h265.parse_sps, h264.parameter_sets, h265.parameter_sets, nal.lengths_to_annex_b):
        with contextlib.suppress(VmsError):
            parse(data)
    with contextlib.suppress(VmsError):
        h264.parse_sps(b"\x67\x64\x00\x1f" + data)
    with contextlib.suppress(VmsError):
        h265.parse_sps(b"\x42\x01\x01\x01\x60" + data)
    h264.is_recovery_point(b"\x06" + data)
    h264.is_intra_slice(data)
    parse_rtcp(data)


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
