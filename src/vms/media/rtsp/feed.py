"""Frames on their way to viewers: packetised once per stream, shared by everyone who watches it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from vms.common.stream import VideoParameters
from vms.media.rtp.packetize import INTERLEAVED_HEADER_BYTES, packetize_interleaved, with_channel

# A GOP beyond this is not kept: a viewer then waits for the next keyframe instead of the server for memory.
MAX_GOP_BYTES: Final = 8 * 1024 * 1024

_RTP_HEADER_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class StreamDescription:
    """What a viewer is told of a stream before it plays."""

    parameters: VideoParameters
    ssrc: int
    title: str = "VMS"
    payload_type: int = 96
    clock_rate: int = 90_000


class Frame:
    """One access unit as interleaved RTP packets on channel 0. Shared between viewers, so never changed.

    ``index`` counts the frames of the stream; ``rtp_timestamp`` and ``sequence`` (of the first packet) are unwrapped;
    ``capture_us`` is the wall time that ``rtp_timestamp`` stands for; ``octets`` counts RTP payload as RTCP does.
    """

    __slots__ = (
        "_moved",
        "_pieces",
        "blob",
        "capture_us",
        "index",
        "keyframe",
        "octets",
        "packets",
        "rtp_timestamp",
        "sequence",
    )

    def __init__(
        self,
        blob: bytes,
        *,
        packets: int,
        index: int,
        sequence: int,
        rtp_timestamp: int,
        capture_us: int,
        keyframe: bool,
    ) -> None:
        self.blob = blob
        self.packets = packets
        self.index = index
        self.sequence = sequence
        self.rtp_timestamp = rtp_timestamp
        self.capture_us = capture_us
        self.keyframe = keyframe
        self.octets = len(blob) - packets * (INTERLEAVED_HEADER_BYTES + _RTP_HEADER_BYTES)
        self._moved: dict[int, bytes] | None = None
        self._pieces: tuple[memoryview, ...] | None = None

    def on_channel(self, channel: int) -> bytes:
        """The packets on another channel; made once per channel, whoever asks."""
        if channel == 0:
            return self.blob
        if self._moved is None:
            self._moved = {}
        if channel not in self._moved:
            self._moved[channel] = with_channel(self.blob, channel)
        return self._moved[channel]

    def pieces(self) -> tuple[memoryview, ...]:
        """The packets on channel 0 one by one; made once, whoever asks."""
        if self._pieces is None:
            view, position, pieces = memoryview(self.blob), 0, []
            while position < len(view):
                end = position + INTERLEAVED_HEADER_BYTES + int.from_bytes(view[position + 2 : position + 4], "big")
                pieces.append(view[position:end])
                position = end
            self._pieces = tuple(pieces)
        return self._pieces


class Packetizer:
    """Turns the access units of one stream into frames; keeps the sequence numbers."""

    def __init__(self, description: StreamDescription, *, sequence: int = 0, first_timestamp: int = 0) -> None:
        self._description = description
        self._sequence = sequence
        self._first_timestamp = first_timestamp
        self._index = 0

    def frame(self, payload: bytes, *, pts_90k: int, capture_us: int, keyframe: bool) -> Frame:
        """The next frame, in decoding order. Raises VmsError(CORRUPT) for a broken access unit."""
        description = self._description
        timestamp = self._first_timestamp + pts_90k
        blob, packets = packetize_interleaved(
            payload,
            codec=description.parameters.codec,
            sequence=self._sequence,
            timestamp=timestamp,
            ssrc=description.ssrc,
            payload_type=description.payload_type,
        )
        frame = Frame(
            blob,
            packets=packets,
            index=self._index,
            sequence=self._sequence,
            rtp_timestamp=timestamp,
            capture_us=capture_us,
            keyframe=keyframe,
        )
        self._sequence += packets
        self._index += 1
        return frame


class FrameSink(Protocol):
    """A viewer, as a feed sees it. Both are called from the event loop and must not block."""

    def frame(self, frame: Frame) -> None:
        """The next frame of the stream."""
        ...

    def end(self) -> None:
        """There will be no more frames."""
        ...


class Subscription(Protocol):
    """A viewer's place in a feed."""

    @property
    def backlog(self) -> Sequence[Frame]:
        """The frames from the latest keyframe on, when the subscription began; the sink is given what follows them."""
        ...

    def close(self) -> None:
        """Stop giving frames to the sink; may be called again."""
        ...


class StreamSource(Protocol):
    """Where a server's streams come from. Paths have no slash in front."""

    async def describe(self, path: str) -> StreamDescription | None:
        """The stream of a path, opened if it opens on demand; None when there is none."""
        ...

    def subscribe(self, path: str, sink: FrameSink) -> Subscription | None:
        """Start giving a path's frames to a sink; None when the stream is gone since it was described."""
        ...


class FrameFeed:
    """One stream's frames: the current GOP is kept, and each new frame goes to every sink."""

    __slots__ = ("_gop", "_gop_bytes", "_sinks")

    def __init__(self) -> None:
        self._gop: list[Frame] = []
        self._gop_bytes = 0
        # A tuple, replaced when it changes: a sink may leave while frames are handed out.
        self._sinks: tuple[FrameSink, ...] = ()

    @property
    def watched(self) -> bool:
        """Whether anyone would see a frame published now."""
        return bool(self._sinks)

    def publish(self, frame: Frame) -> None:
        """Hand the next frame to all sinks."""
        if frame.keyframe:
            self._gop = [frame]
            self._gop_bytes = len(frame.blob)
        elif self._gop:
            self._gop_bytes += len(frame.blob)
            if self._gop_bytes > MAX_GOP_BYTES:
                self._gop = []
            else:
                self._gop.append(frame)
        for sink in self._sinks:
            sink.frame(frame)

    def end(self) -> None:
        """Tell all sinks that the stream is over."""
        for sink in self._sinks:
            sink.end()

    def subscribe(self, sink: FrameSink) -> "FeedSubscription":
        """Add a sink."""
        self._sinks = (*self._sinks, sink)
        return FeedSubscription(self, sink, tuple(self._gop))

    def remove(self, sink: FrameSink) -> None:
        """Forget a sink; no error when it is not there."""
        self._sinks = tuple(other for other in self._sinks if other is not sink)


class FeedSubscription:
    """A sink's place in a `FrameFeed`."""

    __slots__ = ("_feed", "_sink", "backlog")

    def __init__(self, feed: FrameFeed, sink: FrameSink, backlog: tuple[Frame, ...]) -> None:
        self._feed = feed
        self._sink = sink
        self.backlog: Sequence[Frame] = backlog

    def close(self) -> None:
        """Leave the feed, and let go of the backlog."""
        self._feed.remove(self._sink)
        self.backlog = ()
