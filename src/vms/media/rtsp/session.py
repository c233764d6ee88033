"""One RTSP session with one camera: connects, plays, hands on access units, and ends with the reason.

The shell around `ClientCore` (what to say) and the receivers of `vms.media.rtp` (what was sent). The handshake awaits
its answers; from PLAY on, the tick reader calls in, and nothing is awaited but the end.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable
from typing import Final

from vms.common.clock import Clock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, VideoParameters
from vms.media.rtp.payload import make_receiver
from vms.media.rtp.receive import InterleavedReceiver
from vms.media.rtp.rtcp import receiver_report
from vms.media.rtp.units import UnitBuilder
from vms.media.rtsp.client_core import ClientCore, ClientState
from vms.media.rtsp.handshake import open_session
from vms.media.rtsp.tick_reader import TickReader
from vms.media.rtsp.url import CameraUrl, Credentials, parse_url

CONNECT_TIMEOUT_S: Final = 10.0
STALL_TIMEOUT_S: Final = 10.0
_CHORES_S: Final = 1.0
_REPORT_INTERVAL_S: Final = 7.0
_READS_PER_TICK: Final = 8  # of one socket; the others wait meanwhile
_MAX_PENDING_OUTPUT_BYTES: Final = 65536


class SessionStats:
    """Counters of one session, plain integers; read them when you like."""

    __slots__ = (
        "bytes",
        "clock_offset_us",
        "corrupt_units",
        "keyframes",
        "last_unit_us",
        "lost_packets",
        "packets",
        "units",
    )

    def __init__(self) -> None:
        self.bytes = 0
        self.packets = 0
        self.units = 0
        self.lost_packets = 0
        self.corrupt_units = 0
        self.keyframes = 0
        self.last_unit_us: int | None = None  # arrival of the last complete frame
        self.clock_offset_us: int | None = None  # camera clock minus host clock


class RtspSession:
    """A one-shot session: make one, ``run`` it, throw it away.

    ``on_parameters`` is called before the first unit and before the keyframe from which other parameters hold;
    ``on_unit`` for every access unit, in decoding order, from the first keyframe on; ``on_playing`` once, when the
    camera has agreed to send. All are called from the event loop and must not block.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str = "",
        password: str = "",
        reader: TickReader,
        clock: Clock,
        on_parameters: Callable[[VideoParameters], None],
        on_unit: Callable[[AccessUnit], None],
        on_playing: Callable[[], None] | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        stall_timeout_s: float = STALL_TIMEOUT_S,
    ) -> None:
        self._url_text = url
        self._username = username
        self._password = password
        self._reader = reader
        self._clock = clock
        self._on_parameters = on_parameters
        self._on_unit = on_unit
        self._on_playing = on_playing
        self._connect_timeout_s = connect_timeout_s
        self._stall_timeout_s = stall_timeout_s
        self._stats = SessionStats()
        self._core: ClientCore | None = None
        self._socket: socket.socket | None = None
        self._receiver: InterleavedReceiver | None = None
        self._builder: UnitBuilder | None = None
        self._ended: asyncio.Future[None] | None = None
        self._chores_timer: asyncio.TimerHandle | None = None
        self._output = bytearray()
        self._read_count = -1  # bytes that the last read put into the receiver's buffer; -1 for none
        self._read_all = True  # that was all there was
        self._playing = False
        self._deadline = 0.0  # of the answer to PLAY
        self._next_keep_alive = 0.0
        self._next_report = 0.0
        self._progress = (0, 0.0)  # complete units seen by the watchdog, and when their number last changed
        self._ssrc = secrets.randbits(32)

    @property
    def core(self) -> ClientCore | None:
        """The protocol state, once ``run`` has begun: for the server's name and description."""
        return self._core

    @property
    def stats(self) -> SessionStats:
        """The counters as of now."""
        stats, receiver, builder = self._stats, self._receiver, self._builder
        if receiver is not None and builder is not None:
            stats.bytes = receiver.bytes
            stats.packets = receiver.packets
            stats.lost_packets = receiver.lost_packets
            stats.units = builder.units
            stats.corrupt_units = builder.corrupt_units
            stats.keyframes = builder.keyframes
            stats.last_unit_us = builder.last_unit_us or None
            stats.clock_offset_us = builder.clock.clock_offset_us
        return stats

    async def run(self) -> None:
        """Connect, play and stay until the session ends.

        Always ends by an exception: VmsError with the reason, or CancelledError. Whatever the end, TEARDOWN is sent if
        there is a session, and the connection is closed.
        """
        url, from_url = parse_url(self._url_text)
        credentials = Credentials(self._username, self._password) if self._username else from_url
        self._core = ClientCore(url, credentials)
        self._ended = asyncio.get_running_loop().create_future()
        try:
            try:
                async with asyncio.timeout(self._connect_timeout_s):
                    self._socket, rest = await open_session(self._core)
            except TimeoutError:
                raise _no_answer(self._core.url, self._connect_timeout_s) from None
            self._start_streaming(self._core, rest)
            await self._ended
        finally:
            self._close()

    # --- streaming --------------------------------------------------------------------------------------

    def _start_streaming(self, core: ClientCore, rest: bytes) -> None:
        assert core.description is not None
        assert self._socket is not None
        video = core.description.video
        self._builder = UnitBuilder(video.codec, video.parameter_sets, self._on_parameters, self._on_unit)
        self._receiver = make_receiver(
            video.codec,
            payload_type=video.payload_type,
            channels=core.channels,
            builder=self._builder,
            on_message=core.receive,
        )
        now = self._clock.monotonic()
        self._deadline = now + self._connect_timeout_s
        self._next_report = now + _REPORT_INTERVAL_S
        self._progress = (0, now)
        if rest:
            self._receiver.feed(rest, self._clock.now_us())
            self._follow_core()
        self._reader.add(self._socket, self._read, self._take, self._fail)
        self._schedule_chores()

    def _read(self) -> None:
        """Read what there is, in the first half of the reader's tick."""
        sock, receiver = self._socket, self._receiver
        assert sock is not None
        assert receiver is not None
        room = receiver.writable()
        try:
            self._read_count = count = sock.recv_into(room)
        except BlockingIOError:
            self._read_count = -1
            return
        except OSError as error:
            raise VmsError(ErrorKind.CLOSED, f"the connection to the camera broke: {error.strerror}") from None
        self._read_all = count < len(room)

    def _take(self) -> None:
        """Take what was read, in the second half; go on when the buffer was too small for it."""
        receiver = self._receiver
        assert receiver is not None
        for reads_left in reversed(range(_READS_PER_TICK)):
            count = self._read_count
            if count <= 0:
                if count:
                    return
                receiver.finish()
                raise VmsError(ErrorKind.CLOSED, "the camera closed the connection")
            receiver.received(count, self._clock.now_us())
            if not self._playing:
                self._follow_core()
            if self._read_all or not reads_left:
                return
            self._read()

    def _follow_core(self) -> None:
        """After messages: send what the core has to say, and notice that the camera agreed to play."""
        assert self._core is not None
        self._send(self._core.take_output())
        if not self._playing and self._core.state is ClientState.PLAYING:
            self._playing = True
            now = self._clock.monotonic()
            self._next_keep_alive = now + self._core.session_timeout_s / 2
            self._progress = (self._progress[0], now)
            if self._on_playing is not None:
                self._on_playing()

    def _schedule_chores(self) -> None:
        self._chores_timer = asyncio.get_running_loop().call_later(_CHORES_S, self._chores)

    def _chores(self) -> None:
        """Once a second: watchdog, keep-alive, receiver report."""
        try:
            self._watch()
            self._follow_core()
        except Exception as error:  # noqa: BLE001 - the edge of the session: whoever awaits run() gets it
            self._fail(error)
            return
        self._schedule_chores()

    def _watch(self) -> None:
        assert self._core is not None
        assert self._receiver is not None
        assert self._builder is not None
        now = self._clock.monotonic()
        if not self._playing:
            if now > self._deadline:
                raise _no_answer(self._core.url, self._connect_timeout_s)
            return
        complete = self._builder.units + self._builder.units_skipped
        if complete != self._progress[0]:
            self._progress = (complete, now)
        elif now - self._progress[1] > self._stall_timeout_s:
            raise VmsError(
                ErrorKind.TIMEOUT, f"the camera has sent no complete frame for {self._stall_timeout_s:g} seconds"
            )
        if now >= self._next_keep_alive:
            self._next_keep_alive = now + self._core.session_timeout_s / 2
            self._core.keep_alive()
        if now >= self._next_report:
            self._next_report = now + _REPORT_INTERVAL_S
            state = self._receiver.reception(self._clock.now_us())
            if state is not None:
                report = receiver_report(self._ssrc, state)
                self._send(bytes((0x24, self._core.channels[1])) + len(report).to_bytes(2, "big") + report)

    def _send(self, data: bytes) -> None:
        """Send now what the socket takes; the rest with the next chores."""
        self._output += data
        if not self._output or self._socket is None:
            return
        try:
            del self._output[: self._socket.send(self._output)]
        except BlockingIOError:
            pass
        except OSError as error:
            raise VmsError(ErrorKind.CLOSED, f"the connection to the camera broke: {error.strerror}") from None
        if len(self._output) > _MAX_PENDING_OUTPUT_BYTES:
            raise VmsError(ErrorKind.TIMEOUT, "the camera does not read what it is sent")

    # --- end --------------------------------------------------------------------------------------------

    def _fail(self, error: Exception) -> None:
        """The session ends with this error; the first one counts."""
        if not isinstance(error, VmsError):
            wrapped = VmsError(ErrorKind.INTERNAL, f"the camera session failed: {type(error).__name__}")
            wrapped.__cause__ = error
            error = wrapped
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(error)

    def _close(self) -> None:
        if self._chores_timer is not None:
            self._chores_timer.cancel()
        sock, self._socket = self._socket, None
        if sock is not None:
            self._reader.remove(sock)
            assert self._core is not None
            self._core.teardown()
            # Not awaited: a camera that is gone must not hold up the end, and closing says the same.
            with contextlib.suppress(OSError):
                sock.send(self._output + self._core.take_output())
            sock.close()
        if self._ended is not None and self._ended.done() and not self._ended.cancelled():
            self._ended.exception()  # seen, in case run() itself was cancelled at the same moment


def _no_answer(url: CameraUrl, timeout_s: float) -> VmsError:
    return VmsError(
        ErrorKind.TIMEOUT,
        f"{url.authority} does not answer within {timeout_s:g} seconds: check address, port and network",
        host=url.host,
    )
