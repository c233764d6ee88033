import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vms.bus import jetstream
from vms.bus.mailbox import Incoming
from vms.common.errors import ErrorKind, VmsError


def delivery(reply: str) -> Incoming:
    return Incoming("vms.recording.c.opened", reply, b"", {})


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.VMS_RECORDING.storage.3.1700.41.1700000000000000000.12",
        "$JS.ACK.hub.acct.VMS_RECORDING.storage.3.1700.41.1700000000000000000.12",
        "$JS.ACK._.acct.VMS_RECORDING.storage.3.1700.41.1700000000000000000.12.r4nd0m",
    ],
)
def test_a_delivery_tells_its_place_in_stream_and_consumer(reply: str) -> None:
    incoming = delivery(reply)
    assert jetstream.attempt(incoming) == 3
    assert jetstream.stream_sequence(incoming) == 1700
    assert jetstream.consumer_sequence(incoming) == 41
    assert jetstream.pending(incoming) == 12


@pytest.mark.parametrize("reply", ["", "_INBOX.a.b", "$JS.ACK.a.b.c", "$JS.NAK.s.c.1.1.1.1.1", "$JS.ACK.s.c.1.x.1.1.1"])
def test_another_message_is_no_delivery(reply: str) -> None:
    with pytest.raises(VmsError) as caught:
        jetstream.stream_sequence(delivery(reply))
    assert caught.value.kind is ErrorKind.PROTOCOL


@pytest.mark.parametrize(
    ("code", "err_code", "kind"),
    [
        (400, 10071, ErrorKind.CONFLICT),
        (400, 10054, ErrorKind.INVALID),
        (404, 10059, ErrorKind.NOT_FOUND),
        (503, 10077, ErrorKind.UNAVAILABLE),
        (400, 10025, ErrorKind.INTERNAL),
    ],
)
def test_refusals_have_the_kind_that_the_caller_can_act_on(code: int, err_code: int, kind: ErrorKind) -> None:
    answer = json.dumps({"error": {"code": code, "err_code": err_code, "description": "because"}}).encode()
    with pytest.raises(VmsError, match="because") as caught:
        jetstream._answer(answer, what="STREAM.CREATE.X")
    assert caught.value.kind is kind


@given(st.binary(max_size=80))
def test_any_answer_is_read_or_a_protocol_error(data: bytes) -> None:
    outcome: object
    try:
        outcome = jetstream._answer(data, what="x")
    except VmsError as error:
        outcome = error.kind
    assert isinstance(outcome, dict) or outcome is ErrorKind.PROTOCOL
