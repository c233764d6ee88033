import asyncio

import pytest
from tests.support.services import free_port
from tests.support.web_stub import Reply, web_stub

from vms.cli import ready
from vms.cli.ready import wait_listening, wait_ready
from vms.common.errors import ErrorKind, VmsError


async def test_services_are_ready_when_each_health_answers_whatever_it_says() -> None:
    with web_stub() as one, web_stub() as two:
        one.replies["/health"] = Reply({"status": "ok"})
        two.replies["/health"] = Reply({"status": "failed"}, 503)
        await wait_ready({"one": one.url, "two": two.url})
        assert (one.lines, two.lines) == (["GET /health"], ["GET /health"])


async def test_a_service_that_comes_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "_INTERVAL_S", 0.001)
    asked: list[str] = []

    def answers(url: str) -> bool:
        asked.append(url)
        return url.startswith("http://early") or len(asked) > 5

    monkeypatch.setattr(ready, "_answers", answers)
    await wait_ready({"early": "http://early", "late": "http://late"})
    assert asked.count("http://early/health") == 1
    assert asked.count("http://late/health") == 5


async def test_those_that_do_not_come_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "_TIMEOUT_S", 0.05)
    with web_stub() as web:
        with pytest.raises(VmsError, match=r"^storage did not start") as caught:
            await wait_ready({"api": web.url, "storage": f"http://127.0.0.1:{free_port()}"})
        assert caught.value.kind is ErrorKind.UNAVAILABLE


async def test_a_port_is_waited_for_until_somebody_listens() -> None:
    port = free_port()
    waiting = asyncio.create_task(wait_listening("127.0.0.1", port))
    await asyncio.sleep(0)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
    async with server:
        assert await waiting
    assert not await wait_listening("127.0.0.1", free_port(), timeout_s=0.01)
