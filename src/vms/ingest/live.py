"""Live frames on the bus, only while somebody asks: lease, group of pictures, then frame by frame."""

from collections.abc import Iterable
from typing import Final

from vms.bus.client import Bus
from vms.common.clock import Clock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, VideoParameters
from vms.common.types import StreamId
from vms.ingest.ring import FrameRing
from vms.proto import subjects
from vms.proto.convert import encode
from vms.proto.messages import GopHeader, GopRequest, StreamUnit

MAX_LEASE_S: Final = 10.0


class LiveStream:
    """Publishes one stream while a lease on it runs. A consumer renews by asking again before the lease ends."""

    def __init__(self, stream_id: StreamId, bus: Bus, clock: Clock) -> None:
        self._stream_id = stream_id
        self._subject = subjects.media_au(stream_id)
        self._bus = bus
        self._clock = clock
        self._until = 0.0
        self.wanted = False  # whether a lease runs; a plain attribute, because it is read for every frame
        self.published_total = 0
        self.dropped_total = 0

    def publish(self, unit: AccessUnit, parameters: VideoParameters) -> None:
        """Send one frame; it is dropped and counted when the bus does not take it."""
        if self._bus.publish(self._subject, encode(StreamUnit(self._stream_id, parameters.codec, unit))):
            self.published_total += 1
        else:
            self.dropped_total += 1

    def open(self, request: GopRequest, ring: FrameRing) -> Iterable[bytes]:
        """Replies to one request: a GopHeader, then its frames. With ``lease_s`` live frames follow on the subject.

        The first live frame may come before the last reply: a consumer orders by ``seq`` and drops what it has.
        Raises VmsError(UNAVAILABLE) while the camera has sent no keyframe.
        """
        units = ring.gop()
        parameters = ring.parameters
        if parameters is None or not units:
            raise VmsError(ErrorKind.UNAVAILABLE, "the camera sends no picture at this moment", stream=self._stream_id)
        if request.lease_s > 0:
            self._until = self._clock.monotonic() + min(request.lease_s, MAX_LEASE_S)
            self.wanted = True
        header = encode(GopHeader(parameters, units[0].seq, len(units)))
        return [header, *(encode(StreamUnit(self._stream_id, parameters.codec, unit)) for unit in units)]

    def expire(self) -> None:
        """Stop when the lease has run out. Called once a second."""
        if self.wanted and self._clock.monotonic() >= self._until:
            self.wanted = False
