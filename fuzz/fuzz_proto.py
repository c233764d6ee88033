"""Fuzz target for everything that parses bytes from the bus: only VmsError may come out.

With atheris (``pip install atheris``), guided by coverage, until it is stopped or finds something::

    python fuzz/fuzz_proto.py -max_len=4096 [CORPUS_DIRECTORY]

Without it the module imports all the same. An input that the fuzzer saved is tried again, by either, with::

    python fuzz/fuzz_proto.py FILE

The first byte chooses the parser, the rest is its input. What decodes is encoded and must decode to the same again.
"""

import sys
from typing import Any, Final

from vms.bus import jetstream
from vms.bus.endpoint import parse_greeting
from vms.bus.mailbox import Incoming
from vms.common.camera import CameraConfig
from vms.common.errors import ErrorKind, VmsError
from vms.proto.convert import MESSAGE_TYPES, decode, decode_reply, encode
from vms.proto.messages import RecordingAnnouncement, StreamUnit

VALUE_TYPES: Final[list[Any]] = [*MESSAGE_TYPES, CameraConfig, RecordingAnnouncement, StreamUnit]
OTHERS: Final = 3


def test_one_input(data: bytes) -> None:
    """Feed one input to the parser that its first byte chooses."""
    choice, rest = (data[0] % (len(VALUE_TYPES) + OTHERS), data[1:]) if data else (0, b"")
    try:
        if choice < len(VALUE_TYPES):
            _round_trip(VALUE_TYPES[choice], rest)
        elif choice == len(VALUE_TYPES):
            parse_greeting(rest)
        elif choice == len(VALUE_TYPES) + 1:
            jetstream.pending(Incoming("s", rest.decode("latin-1"), b"", {}))
        else:
            decode_reply(rest)
    except VmsError as error:
        # What came in is at fault, never what we made of it ourselves.
        if error.kind is ErrorKind.INVALID and choice < len(VALUE_TYPES):
            raise AssertionError("a decoded message cannot be encoded") from error


def _round_trip(value_type: Any, data: bytes) -> None:  # noqa: ANN401 - any message type
    encoded = encode(decode(value_type, data))
    if encode(decode(value_type, encoded)) != encoded:
        raise AssertionError(f"{value_type.__name__} changes in a round trip")


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
