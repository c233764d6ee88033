import asyncio

import pytest

from vms.bus.mailbox import Incoming, Mailbox
from vms.common.errors import ErrorKind, VmsError


def message(data: bytes, status: str = "") -> Incoming:
    return Incoming("s", "", data, {"Status": status} if status else {})


async def test_messages_come_out_in_order() -> None:
    mailbox = Mailbox(10)
    mailbox.put(message(b"1"))
    mailbox.put(message(b"2"))
    assert [(await mailbox.get(1)).data, (await mailbox.get(1)).data] == [b"1", b"2"]


async def test_a_reader_that_waits_is_woken() -> None:
    mailbox = Mailbox(10)
    reader = asyncio.create_task(mailbox.get(5))
    await asyncio.sleep(0)
    mailbox.put(message(b"1"))
    assert (await reader).data == b"1"


async def test_silence_is_a_timeout() -> None:
    with pytest.raises(VmsError) as caught:
        await Mailbox(10).get(0.01)
    assert caught.value.kind is ErrorKind.TIMEOUT


async def test_overflow_ends_the_mailbox_after_what_it_holds() -> None:
    mailbox = Mailbox(2)
    for data in (b"1", b"2", b"3"):
        mailbox.put(message(data))
    assert (await mailbox.get(1)).data == b"1"
    assert (await mailbox.get(1)).data == b"2"
    with pytest.raises(VmsError) as caught:
        await mailbox.get(1)
    assert caught.value.kind is ErrorKind.UNAVAILABLE


async def test_the_first_failure_is_the_one_reported() -> None:
    mailbox = Mailbox(2)
    mailbox.fail(VmsError(ErrorKind.UNAVAILABLE, "first"))
    mailbox.fail(VmsError(ErrorKind.UNAVAILABLE, "second"))
    with pytest.raises(VmsError, match="first"):
        await mailbox.get(1)


async def test_heartbeats_do_not_pile_up() -> None:
    mailbox = Mailbox(2)
    for _ in range(100):
        mailbox.put(message(b"", status="100"))
    mailbox.put(message(b"1"))
    assert (await mailbox.get(1)).status == "100"
    assert (await mailbox.get(1)).data == b"1"
