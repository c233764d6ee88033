from collections.abc import Callable
from types import SimpleNamespace

import pytest

from vms.bench import namespace
from vms.bench.namespace import paced_link
from vms.common.errors import ErrorKind, VmsError


class Host:
    """A machine that does what it is told, until a command that contains ``fails_at``."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.fails_at = "\0"
        self.message = "RTNETLINK answers: Operation not permitted\nmore"

    def run(self, command: list[str], **_: object) -> SimpleNamespace:
        self.commands.append(" ".join(command))
        fails = self.fails_at in self.commands[-1]
        return SimpleNamespace(returncode=int(fails), stdout="", stderr=self.message if fails else "")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    machine = Host()
    run: Callable[..., SimpleNamespace] = lambda command, **options: machine.run(list(command), **options)  # noqa: E731
    monkeypatch.setattr(namespace, "subprocess", SimpleNamespace(run=run))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda tool: f"/sbin/{tool}")
    return machine


def test_the_sender_gets_a_link_of_its_own_that_goes_away_again(host: Host) -> None:
    with paced_link(150) as link:
        assert link.prefix[:3] == ("ip", "netns", "exec")
        assert any("tbf rate 150mbit" in command for command in host.commands)
        assert sum("tso off gso off" in command for command in host.commands) == 2
        made = len(host.commands)
    name = link.prefix[3]
    assert [command.split()[:3] for command in host.commands[made:]] == [["ip", "link", "del"], ["ip", "netns", "del"]]
    assert host.commands[-1] == f"ip netns del {name}"


def test_what_was_made_before_a_failure_is_removed(host: Host) -> None:
    host.fails_at = "tbf"
    with pytest.raises(VmsError, match=r"RTNETLINK answers: Operation not permitted$") as caught:
        paced_link(150).__enter__()
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert "\n" not in caught.value.message
    assert host.commands[-1].startswith("ip netns del")


def test_without_root_or_its_tools_it_says_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda tool: None if tool == "tc" else tool)
    with pytest.raises(VmsError, match="needs tc: apt-get install iproute2"):
        paced_link(150).__enter__()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(VmsError, match="needs root") as caught:
        paced_link(150).__enter__()
    assert caught.value.kind is ErrorKind.FORBIDDEN
    assert host.commands == []
