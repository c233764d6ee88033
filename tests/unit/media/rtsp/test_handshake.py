"""The handshake over a real connection: what is left over, redirects, servers that hang up."""

import pytest
from tests.support.rtp_packets import interleaved
from tests.support.rtsp import DEFAULT, FakeCamera, reply

from vms.common.errors import ErrorKind, VmsError
from vms.media.rtsp.client_core import ClientCore, ClientState
from vms.media.rtsp.handshake import open_session
from vms.media.rtsp.message import Response
from vms.media.rtsp.url import Credentials, parse_url

CHALLENGE = reply(401, "Unauthorized", WWW_Authenticate='Digest realm="r", nonce="n"')


def core_for(camera: FakeCamera, credentials: Credentials | None = None) -> ClientCore:
    return ClientCore(parse_url(camera.url)[0], credentials)


async def test_it_ends_with_play_on_its_way_and_a_connection_in_hand() -> None:
    async with FakeCamera() as camera:
        core = core_for(camera)
        sock, rest = await open_session(core)
        await camera.until(lambda: "PLAY" in camera.methods)
        sock.close()
        assert camera.methods == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
        assert core.state is ClientState.STARTING
        assert rest == b""


async def test_media_before_setup_is_passed_over_and_media_behind_it_is_kept() -> None:
    setup = DEFAULT["SETUP"]
    assert isinstance(setup, Response)
    early = Response(200, "OK", setup.headers.replaced("CSeq", "3")).encode() + interleaved(b"early")
    script = {"OPTIONS": interleaved(b"x" * 300) + b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n", "SETUP": early}
    async with FakeCamera(script=script) as camera:
        sock, rest = await open_session(core_for(camera))
        sock.close()
        assert rest == interleaved(b"early")


async def test_a_redirect_is_followed_to_the_other_server() -> None:
    async with FakeCamera() as other, FakeCamera(script={"DESCRIBE": reply(302, Location=other.url)}) as camera:
        core = core_for(camera)
        sock, _ = await open_session(core)
        sock.close()
        assert str(core.url) == other.url
        await camera.until(lambda: camera.open_connections == 0)


async def test_a_server_that_hangs_up_behind_its_challenge_is_called_again_with_the_answer() -> None:
    async with FakeCamera(script={"DESCRIBE": [CHALLENGE]}, drop_behind="DESCRIBE") as camera:
        sock, _ = await open_session(core_for(camera, Credentials("u", "p")))
        sock.close()
        assert camera.connections == 2
        describes = [request for request in camera.requests if request.method == "DESCRIBE"]
        assert "Authorization" in describes[-1].headers


async def test_a_server_that_hangs_up_otherwise_has_closed() -> None:
    async with FakeCamera(drop_behind="OPTIONS") as camera:
        with pytest.raises(VmsError, match="closed the connection during the handshake") as caught:
            await open_session(core_for(camera))
        assert caught.value.kind is ErrorKind.CLOSED


@pytest.mark.parametrize("cut", [1, 3, 4, 9])
async def test_an_interleaved_packet_that_comes_in_pieces_does_not_confuse(cut: int) -> None:
    packet = interleaved(b"12345")
    core = ClientCore(parse_url("rtsp://cam/")[0], None)
    core.start()
    from vms.media.rtsp.handshake import _take_messages

    received = bytearray(packet[:cut])
    _take_messages(core, received)
    received += packet[cut:]
    _take_messages(core, received)
    assert received == b""


async def test_a_refusal_leaves_no_connection_open() -> None:
    async with FakeCamera(script={"DESCRIBE": reply(404, "Not Found")}) as camera:
        with pytest.raises(VmsError) as caught:
            await open_session(core_for(camera))
        assert caught.value.kind is ErrorKind.NOT_FOUND
        await camera.until(lambda: camera.open_connections == 0)
