"""A network namespace for the sender, whose link is limited so that packets arrive one by one (root only)."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from vms.common.errors import ErrorKind, VmsError

_SENDER: Final = "10.213.77.1"
_RECEIVER: Final = "10.213.77.2"


@dataclass(frozen=True, slots=True)
class PacedLink:
    """How to run a program at the sender's end, and its address."""

    prefix: tuple[str, ...]
    address: str


@contextlib.contextmanager
def paced_link(rate_mbit: float) -> Iterator[PacedLink]:
    """A veth pair with offloads off and a token bucket at the sender. Raises VmsError(FORBIDDEN | UNSUPPORTED)."""
    if os.geteuid() != 0:
        raise VmsError(ErrorKind.FORBIDDEN, "--paced makes a network namespace, which needs root: run it with sudo")
    missing = [tool for tool in ("ip", "tc", "ethtool") if shutil.which(tool) is None]
    if missing:
        raise VmsError(ErrorKind.UNSUPPORTED, f"--paced needs {', '.join(missing)}: apt-get install iproute2 ethtool")
    name = f"vmsbench{os.getpid()}"
    near, far = f"vb{os.getpid() % 100_000}a", f"vb{os.getpid() % 100_000}b"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        inside = ("ip", "netns", "exec", name)
        _run("ip", "addr", "add", f"{_RECEIVER}/30", "dev", near)
        _run(*inside, "ip", "addr", "add", f"{_SENDER}/30", "dev", far)
        for prefix, device in (((), near), (inside, far)):
            _run(*prefix, "ip", "link", "set", device, "up")
            _run(*prefix, "ethtool", "-K", device, "tso", "off", "gso", "off", "gro", "off", "sg", "off", "tx", "off")
        _run(*inside, "ip", "link", "set", "lo", "up")
        limit = ("rate", f"{rate_mbit:g}mbit", "burst", "3kb", "latency", "400ms")
        _run(*inside, "tc", "qdisc", "add", "dev", far, "root", "tbf", *limit)
        yield PacedLink(inside, _SENDER)
    finally:
        subprocess.run(["ip", "link", "del", near], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise VmsError(
            ErrorKind.UNSUPPORTED,
            f"--paced cannot be set up here: {' '.join(command)}: {reason[0] if reason else 'failed'}",
        )
