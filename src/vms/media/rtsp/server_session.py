"""One connection of the RTSP server: does what `server_core` asks for, and passes frames from a feed to the writer."""

import asyncio
import logging
import socket
from dataclasses import dataclass
from typing import Final

from vms.common.clock import Clock
from vms.media.rtp.sender_report import goodbye, interleaved, sender_report
from vms.media.rtsp.feed import Frame, StreamDescription, StreamSource, Subscription
from vms.media.rtsp.frame_writer import DEFAULT_QUEUE_BYTES, FrameWriter
from vms.media.rtsp.server_core import Action, Describe, HangUp, Play, Reply, ServerCore, Setup, Stop

_LOG = logging.getLogger(__name__)
_CNAME: Final = "vms"
_RECEIVE_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds and times of a server.

    ``live_start`` makes a viewer begin with the next keyframe instead of the latest one; ``frames_per_session`` ends
    each session after so many frames (for tests and measurements). ``packet_writes`` sends packet by packet, as cameras
    do, instead of a frame at once.
    """

    clients: int = 1000
    queue_bytes: int = DEFAULT_QUEUE_BYTES
    idle_seconds: float = 30.0  # without a whole request, before playing
    stall_seconds: float = 15.0  # a viewer that takes nothing
    goodbye_seconds: float = 0.5  # for the client to tear down after the stream's end
    linger_seconds: float = 5.0  # for the client to close after the server has
    report_seconds: float = 5.0  # between sender reports
    check_seconds: float = 1.0
    live_start: bool = False
    frames_per_session: int | None = None
    packet_writes: bool = False


@dataclass(frozen=True, slots=True)
class ViewerStats:
    """What one viewer was sent; ``first_index`` and ``last_index`` count the stream's frames, None before the first."""

    path: str
    peer: str
    first_index: int | None
    last_index: int | None
    frames: int
    frames_dropped: int
    unsent_bytes: int  # counted as sent, but still in the queue when the session ended


class ServerSession:
    """One client: its core, its writer, its subscription. A `FrameSink`. Owns the socket from `run` to `close`."""

    def __init__(
        self,
        sock: socket.socket,
        peer: str,
        core: ServerCore,
        writer: FrameWriter,
        source: StreamSource,
        limits: ServerLimits,
        clock: Clock,
    ) -> None:
        self.peer = peer
        self.writer = writer
        self._socket = sock
        self._core = core
        self._source = source
        self._limits = limits
        self._clock = clock
        self._path = ""
        self._description: StreamDescription | None = None
        self._subscription: Subscription | None = None
        self._heard_at = clock.monotonic()
        self._goodbye_at: float | None = None
        self._ended_at: float | None = None
        self._report_at = 0.0
        self._mapping_due = True

    @property
    def playing(self) -> bool:
        """Whether frames are being sent."""
        return self._subscription is not None

    async def run(self) -> None:
        """Read and answer until either side closes."""
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._socket, _RECEIVE_BYTES):
            self._core.feed(data)
            while (action := self._core.next_action()) is not None:
                self._heard_at = self._clock.monotonic()
                await self._perform(action)

    def frame(self, frame: Frame) -> None:
        """Send a frame of the feed."""
        if self._mapping_due and frame.keyframe:
            # A receiver that takes the report before the first frame has the right time from the start. One that learns
            # the source from its first packet ignores it: the next check, a second later, tells it again.
            self._mapping_due = False
            self._send_report(frame)
            self._report_at = 0.0
        if self.writer.frame(frame) and self.writer.frames == self._limits.frames_per_session:
            self.end()

    def end(self) -> None:
        """The stream is over: say BYE. Players answer with TEARDOWN; who does not is hung up on a little later."""
        if self._description is not None and self._subscription is not None:
            packet = goodbye(ssrc=self._description.ssrc, cname=_CNAME)
            self.writer.message(interleaved(packet, self._core.rtcp_channel))
        self._unsubscribe()
        self._goodbye_at = self._clock.monotonic()

    def check(self, now: float) -> None:
        """Once a second: end what is dead, report to what lives."""
        limits = self._limits
        stalled = self.writer.stalled_since
        if self._goodbye_at is not None and self._ended_at is None and now - self._goodbye_at > limits.goodbye_seconds:
            self._finish()
        if self._ended_at is not None:
            if now - self._ended_at > limits.linger_seconds:
                self.writer.abort()
        elif stalled is not None and now - stalled > limits.stall_seconds:
            _LOG.info("viewer %s takes no data: closed", self.peer)
            self.writer.abort()
        elif not self.playing:
            if now - self._heard_at > limits.idle_seconds:
                self.writer.abort()
        elif now >= self._report_at and self.writer.last_frame is not None:
            self._send_report(self.writer.last_frame)

    def stats(self) -> ViewerStats:
        """What was sent so far."""
        writer = self.writer
        return ViewerStats(
            path=self._path,
            peer=self.peer,
            first_index=writer.first_index,
            last_index=writer.last_frame.index if writer.last_frame is not None else None,
            frames=writer.frames,
            frames_dropped=writer.frames_dropped,
            unsent_bytes=writer.queued_bytes,
        )

    def close(self) -> ViewerStats:
        """Let go of everything."""
        self._unsubscribe()
        stats = self.stats()
        self.writer.close()
        self._socket.close()
        return stats

    async def _perform(self, action: Action) -> None:
        match action:
            case Reply(data):
                self.writer.message(data)
            case Describe(request, path):
                self.writer.message(self._core.describe_reply(request, await self._source.describe(path)))
            case Setup(request, path):
                self._description = await self._source.describe(path)
                self._path = path
                self.writer.message(self._core.setup_reply(request, path, self._description))
                self.writer.channel = self._core.rtp_channel
            case Play():
                self._play(action)
            case Stop(data):
                self._unsubscribe()
                self.writer.message(data)
                if self._goodbye_at is not None:
                    self._finish()
            case HangUp(data):
                self._unsubscribe()
                self.writer.message(data)
                self._finish()

    def _play(self, action: Play) -> None:
        subscription = self._source.subscribe(action.path, self)
        if subscription is None:
            self.writer.message(self._core.play_reply(action.request, None, found=False))
            return
        self._subscription = subscription
        self._mapping_due = True
        backlog = () if self._limits.live_start else tuple(subscription.backlog)
        self.writer.waits_for_keyframe = True
        self.writer.message(self._core.play_reply(action.request, backlog[0] if backlog else None))
        for frame in backlog:
            if self._subscription is not None:
                self.frame(frame)

    def _send_report(self, frame: Frame) -> None:
        # Any point of the line through the frame's capture time and timestamp tells the mapping; now is the usual one.
        assert self._description is not None
        now_us = self._clock.now_us()
        elapsed_ticks = (now_us - frame.capture_us) * self._description.clock_rate // 1_000_000
        report = sender_report(
            ssrc=self._description.ssrc,
            wall_us=now_us,
            rtp_timestamp=frame.rtp_timestamp + elapsed_ticks,
            packets=self.writer.packets,
            octets=self.writer.octets,
            cname=_CNAME,
        )
        self.writer.message(interleaved(report, self._core.rtcp_channel))
        self._report_at = self._clock.monotonic() + self._limits.report_seconds

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def _finish(self) -> None:
        if self._ended_at is None:
            self._ended_at = self._clock.monotonic()
        self.writer.finish()
