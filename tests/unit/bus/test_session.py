import asyncio
import os
import signal
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.support.nats import NatsServer, until

from vms.bus.mailbox import Incoming
from vms.bus.server_files import choose_port
from vms.bus.session import Session, open_session
from vms.bus.settings import BusSettings
from vms.common.errors import ErrorKind, VmsError


async def test_a_refused_password_is_an_auth_error_that_leaves_nothing_open(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        wrong = server.embedded.settings.model_copy(update={"password": SecretStr("wrong-wrong-wrong")})
        with pytest.raises(VmsError) as caught:
            await open_session(wrong, "t")
        assert caught.value.kind is ErrorKind.AUTH
        assert "wrong-wrong" not in str(caught.value)


async def test_nobody_there_is_unreachable() -> None:
    settings = BusSettings(url=f"nats://127.0.0.1:{choose_port('127.0.0.1', 0)}")
    with pytest.raises(VmsError) as caught:
        await open_session(settings, "t")
    assert caught.value.kind is ErrorKind.UNREACHABLE


async def test_messages_and_replies_pass_with_headers(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        session = await open_session(server.embedded.settings, "t")
        got: list[Incoming] = []

        def receive(incoming: Incoming) -> None:
            got.append(incoming)
            asyncio.get_running_loop().create_task(session.publish(incoming.reply, b"pong"))

        handle = await session.subscribe("a.*", receive)
        reply = await session.request("a.b", b"ping", timeout_s=2, headers={"X-One": "1"})
        assert reply.data == b"pong"
        assert (got[0].subject, got[0].data, got[0].headers) == ("a.b", b"ping", {"X-One": "1"})
        await session.unsubscribe(handle)
        with pytest.raises(VmsError) as caught:
            await session.request("a.b", b"", timeout_s=2)
        assert caught.value.kind is ErrorKind.UNAVAILABLE
        await session.close()


async def test_a_request_that_gets_no_reply_is_a_timeout(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        session = await open_session(server.embedded.settings, "t")
        await session.subscribe("deaf", lambda _: None)
        with pytest.raises(VmsError) as caught:
            await session.request("deaf", b"", timeout_s=0.05)
        assert caught.value.kind is ErrorKind.TIMEOUT
        await session.close()


async def test_a_message_larger_than_the_server_takes_is_refused_here(
    tmp_path: Path,
) -> None:
    async with NatsServer(tmp_path) as server:
        session = await open_session(server.embedded.settings, "t")
        assert session.max_payload_bytes == 8 << 20
        with pytest.raises(VmsError) as caught:
            await session.publish("a", bytes((8 << 20) + 1))
        assert caught.value.kind is ErrorKind.INVALID
        await session.flush(timeout_s=2)
        await session.close()


async def test_when_the_server_goes_everything_that_waits_fails_at_once(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        session = await open_session(server.embedded.settings, "t")
        await session.subscribe("deaf", lambda _: None)

        async def wait_for_reply() -> VmsError:
            with pytest.raises(VmsError) as caught:
                await session.request("deaf", b"", timeout_s=60)
            return caught.value

        async def wait_for_delivery() -> VmsError:
            async with session.open_mailbox(limit=5) as (_, mailbox):
                with pytest.raises(VmsError) as caught:
                    await mailbox.get(60)
                return caught.value

        waiting = [asyncio.create_task(wait_for_reply()), asyncio.create_task(wait_for_delivery())]
        await session.flush(timeout_s=2)
        await server.stop()
        async with asyncio.timeout(5):
            await session.wait_ended()
            await session.close()
            for error in await asyncio.gather(*waiting):
                assert error.kind is ErrorKind.UNAVAILABLE
        with pytest.raises(VmsError):
            await session.publish("a", b"")


async def test_a_server_that_stops_reading_does_not_hold_up_close(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        session = await open_session(server.embedded.settings, "t")
        pid = server.embedded.pid
        assert pid is not None
        writer = session._client._transport._io_writer  # type: ignore[union-attr]
        os.kill(pid, signal.SIGSTOP)
        try:
            filling = asyncio.create_task(_fill(session))
            await until(lambda: writer.transport.get_write_buffer_size() > 1 << 16)
            async with asyncio.timeout(3):
                await session.close()
            assert writer.transport.is_closing()
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)
        finally:
            os.kill(pid, signal.SIGCONT)


async def _fill(session: Session) -> None:
    for _ in range(200):
        await session.publish("a", bytes(1 << 20))
