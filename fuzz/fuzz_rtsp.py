"""Fuzz target for RTSP messages, challenges, URLs and the client's state machine: only VmsError may come out.

With atheris (``pip install atheris``), guided by coverage, until it is stopped or finds something::

    python fuzz/fuzz_rtsp.py -max_len=65536 [CORPUS_DIRECTORY]

An input that the fuzzer saved is tried again with ``python fuzz/fuzz_rtsp.py FILE``.

The first byte chooses between a conversation with the client core, a challenge, a URL and a parser at a split position.
"""

import contextlib
import sys

from vms.common.errors import VmsError
from vms.media.rtsp.auth import Authenticator
from vms.media.rtsp.client_core import ClientCore, ClientState
from vms.media.rtsp.message import parse_message
from vms.media.rtsp.url import CameraUrl, Credentials, parse_url, resolve_control


def test_one_input(data: bytes) -> None:
    """Feed one input to the part that its first byte chooses."""
    choice, rest = (data[0] % 4, data[1:]) if data else (0, b"")
    with contextlib.suppress(VmsError):
        (_converse, _challenge, _url, _split)[choice](rest)


def _converse(data: bytes) -> None:
    core = ClientCore(CameraUrl("camera", 554, "/stream"), Credentials("user", "password"))
    core.start()
    position = 0
    while (found := parse_message(data, position, len(data))) is not None:
        message, position = found
        core.receive(message)
        if core.state is ClientState.REDIRECTED:
            core.start()
        core.keep_alive()
        core.take_output()
    core.teardown()


def _challenge(data: bytes) -> None:
    authenticator = Authenticator(Credentials("user", "password"))
    authenticator.accept(data.decode("utf-8", "surrogateescape").splitlines())
    authenticator.header("DESCRIBE", "rtsp://camera/")


def _url(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    url, _ = parse_url("rtsp://" + text)
    resolve_control(str(url), text)


def _split(data: bytes) -> None:
    """A message is found in a part of the bytes only if it is found in all of them, and is the same."""
    whole = parse_message(data, 0, len(data))
    part = parse_message(data, 0, len(data) // 2)
    if part is not None and part != whole:
        raise AssertionError("a message depends on what follows it")


def main() -> None:
    """Run under atheris."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
