"""Sends frames and replies to one client: one ``send`` per frame, a bounded queue behind it, never waiting.

On request it is one ``send`` per packet, back to back, which is how cameras write: it costs the sender several times as
much, and shows a receiver the arrival pattern of a camera on a fast link.

When the client does not keep up, whole frames are dropped until a keyframe fits again: memory stays bounded, other
clients are not delayed, and what the client does get can be decoded.
"""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from vms.common.clock import Clock
from vms.media.rtsp.feed import Frame

DEFAULT_QUEUE_BYTES: Final = 4 * 1024 * 1024
# Replies are let in beyond the frames' limit, up to this much more: then the client floods without reading.
_REPLY_RESERVE_BYTES: Final = 256 * 1024


class FrameWriter:
    """The sending side of a connected, non-blocking socket, which it does not close.

    The socket is shut down when the client is beyond help or `finish` has sent everything; the reader then sees the end
    of the connection, and ends the session.
    """

    __slots__ = (
        "_clock",
        "_finishing",
        "_loop",
        "_packet_writes",
        "_pending",
        "_send",
        "_socket",
        "_watching",
        "channel",
        "first_index",
        "frames",
        "frames_dropped",
        "last_frame",
        "octets",
        "packets",
        "queue_bytes",
        "queued_bytes",
        "stalled_since",
        "waits_for_keyframe",
    )

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        *,
        queue_bytes: int = DEFAULT_QUEUE_BYTES,
        packet_writes: bool = False,
    ) -> None:
        self._socket = sock
        self._loop = loop
        self._clock = clock
        self._pending: deque[bytes | memoryview] = deque()
        self._watching = False
        self._finishing = False
        self._packet_writes = packet_writes
        self._send: Callable[[bytes | memoryview], int] = sock.send
        self.queue_bytes = queue_bytes
        self.queued_bytes = 0
        self.stalled_since: float | None = None  # monotonic seconds: when the client last took something, while it owes
        self.channel = 0
        self.waits_for_keyframe = True
        self.first_index: int | None = None
        self.last_frame: Frame | None = None
        self.frames = 0
        self.frames_dropped = 0
        self.packets = 0
        self.octets = 0

    def frame(self, frame: Frame) -> bool:
        """Send or queue a frame; False when it is dropped."""
        if self._finishing:
            return False
        if self.waits_for_keyframe and not frame.keyframe:
            if self.first_index is not None:
                self.frames_dropped += 1
            return False
        blob = frame.blob if self.channel == 0 else frame.on_channel(self.channel)
        if self._pending:
            if self.queued_bytes + len(blob) > self.queue_bytes:
                self.frames_dropped += 1
                self.waits_for_keyframe = True
                return False
            self._enqueue(blob)
        elif self._packet_writes and self.channel == 0:
            self._send_packets(frame)
        else:
            self._send_now(blob)
        if self.first_index is None:
            self.first_index = frame.index
        self.waits_for_keyframe = False
        self.last_frame = frame
        self.frames += 1
        self.packets += frame.packets
        self.octets += frame.octets
        return True

    def message(self, data: bytes) -> None:
        """Send or queue a reply or an RTCP packet, after the frames before it."""
        if not self._pending:
            self._send_now(data)
        elif self.queued_bytes + len(data) > self.queue_bytes + _REPLY_RESERVE_BYTES:
            self.abort()
        else:
            self._enqueue(data)

    def finish(self) -> None:
        """Send what is queued, then end the stream of bytes."""
        self._finishing = True
        if not self._pending:
            self._shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        """Forget what is queued and end the connection in both directions."""
        self._forget()
        self._finishing = True
        self._shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop watching the socket; to be called before it is closed."""
        self._forget()

    def _send_packets(self, frame: Frame) -> None:
        for piece in frame.pieces():
            if self._pending:
                self._enqueue(piece)
            else:
                self._send_now(piece)

    def _send_now(self, data: bytes | memoryview) -> None:
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.abort()  # the client is gone; its reader ends the session
            return
        if sent < len(data):
            self._enqueue(memoryview(data)[sent:])

    def _enqueue(self, data: bytes | memoryview) -> None:
        if not self._pending:
            self.stalled_since = self._clock.monotonic()
        self._pending.append(data)
        self.queued_bytes += len(data)
        if not self._watching:
            self._loop.add_writer(self._socket, self._flush)
            self._watching = True

    def _flush(self) -> None:
        pending = self._pending
        try:
            while pending:
                head = pending[0]
                sent = self._send(head)
                self.queued_bytes -= sent
                self.stalled_since = self._clock.monotonic()
                if sent < len(head):
                    pending[0] = memoryview(head)[sent:]
                    return
                pending.popleft()
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        self._forget()
        if self._finishing:
            self._shutdown(socket.SHUT_WR)

    def _forget(self) -> None:
        self._pending.clear()
        self.queued_bytes = 0
        self.stalled_since = None
        if self._watching:
            self._loop.remove_writer(self._socket)
            self._watching = False

    def _shutdown(self, how: int) -> None:
        with contextlib.suppress(OSError):  # already gone, which is what was wanted
            self._socket.shutdown(how)
