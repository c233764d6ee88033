"""Connecting: addresses in turn, and errors that say what to do."""

import asyncio
import socket

import pytest

from vms.common.errors import ErrorKind, VmsError
from vms.media.rtsp.connect import connect
from vms.media.rtsp.url import CameraUrl


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
async def test_both_families_are_connected_to(host: str, family: int) -> None:
    with socket.create_server((host, 0), family=family) as server:
        sock = await connect(CameraUrl(host, server.getsockname()[1], ""))
        assert sock.getpeername()[0] == host
        assert not sock.getblocking()
        sock.close()


async def test_the_addresses_of_a_name_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        closed = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", free_port()))
        return [closed, (socket.AF_INET, socket.SOCK_STREAM, 6, "", server.getsockname())]

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        sock = await connect(CameraUrl("camera.example", 554, ""))
        assert sock.getpeername() == server.getsockname()
        sock.close()


async def test_a_refused_connection_is_unreachable_and_names_the_port() -> None:
    port = free_port()
    with pytest.raises(VmsError, match=f"refuses connections on port {port}") as caught:
        await connect(CameraUrl("127.0.0.1", port, ""))
    assert caught.value.kind is ErrorKind.UNREACHABLE


async def test_a_name_that_does_not_exist_is_unreachable_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    with pytest.raises(VmsError, match=r"no-such-camera\.invalid cannot be resolved") as caught:
        await connect(CameraUrl("no-such-camera.invalid", 554, ""))
    assert caught.value.kind is ErrorKind.UNREACHABLE


async def test_any_other_failure_is_unreachable_with_its_reason() -> None:
    with pytest.raises(VmsError, match="cannot be reached") as caught:
        await connect(CameraUrl("255.255.255.255", 554, ""))  # no TCP to a broadcast address
    assert caught.value.kind is ErrorKind.UNREACHABLE
