import asyncio
from pathlib import Path

from tests.support.nats import NatsServer, until

from vms.bus.link import Link, ignore
from vms.bus.server_files import choose_port
from vms.bus.session import Session
from vms.bus.settings import BusSettings


class Attached:
    """Counts the sessions it was set up on."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []

    async def attach(self, session: Session) -> None:
        self.sessions.append(session)


async def test_an_outage_is_reported_once_and_does_not_end_the_link() -> None:
    events: list[str] = []

    def report(event: str, /, **_: object) -> None:
        events.append(event)

    settings = BusSettings(url=f"nats://127.0.0.1:{choose_port('127.0.0.1', 0)}")
    link = Link(settings, "t", report)
    task = asyncio.create_task(link.run())
    await until(lambda: link.stats.connect_failures >= 3)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert events == ["bus_unreachable"]
    assert link.send("a", b"") is False
    assert link.stats.dropped == 1


async def test_attachments_are_set_up_once_on_each_session_and_not_after_detaching(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        link = Link(server.settings, "t", ignore)
        early, late = Attached(), Attached()
        await link.attach(early)
        task = asyncio.create_task(link.run())
        await link.wait()
        await link.attach(late)
        assert len(early.sessions) == len(late.sessions) == 1
        link.detach(early)
        server.kill()
        await until(lambda: link.stats.connections == 2)
        assert (len(early.sessions), len(late.sessions)) == (1, 2)
        assert late.sessions[0] is not late.sessions[1]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert link.session is None


async def test_messages_beyond_the_bound_are_refused_and_counted(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        settings = server.settings.model_copy(update={"pending_max_bytes": 10_000})
        link = Link(settings, "t", ignore)
        task = asyncio.create_task(link.run())
        session = await link.wait()
        # The loop does not run between these, so nothing leaves the queue.
        accepted = [link.send("a", bytes(1000)) for _ in range(20)]
        assert accepted.count(True) == 9
        assert link.stats.dropped == 11
        assert link.send("a", bytes(session.max_payload_bytes + 1)) is False
        await link.drain(2)
        assert link.stats.published == 9
        assert link.send("a", bytes(1000)) is True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
