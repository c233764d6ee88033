"""Fuzz target for SDP and what its parameter sets make: only VmsError may come out.

With atheris (``pip install atheris``), guided by coverage, until it is stopped or finds something::

    python fuzz/fuzz_sdp.py -max_len=65536 [CORPUS_DIRECTORY]

An input that the fuzzer saved is tried again with ``python fuzz/fuzz_sdp.py FILE``.

A first byte below 128 puts the input behind a sound video stream, so that attributes need not be found by chance.
"""

import contextlib
import sys

from vms.common.errors import VmsError
from vms.media.rtp.parameter_store import ParameterStore
from vms.media.rtsp.sdp import parse_sdp
from vms.media.rtsp.url import resolve_control

VIDEO = b"v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"


def test_one_input(data: bytes) -> None:
    """Parse one description and use what it says."""
    choice, rest = (data[0], data[1:]) if data else (0, b"")
    with contextlib.suppress(VmsError):
        found = parse_sdp(VIDEO + rest if choice < 128 else rest)
        resolve_control("rtsp://camera/stream/", found.video.control)
        resolve_control("rtsp://camera/stream/", found.control)
        store = ParameterStore(found.video.codec)
        store.update(found.video.parameter_sets)
        store.take_change()


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
