import pytest
from tests.support.ingest import FakeBus, stream
from tests.support.recordings import PARAMS

from vms.common.clock import ManualClock
from vms.common.errors import ErrorKind, VmsError
from vms.common.types import StreamId
from vms.ingest.live import LiveStream
from vms.ingest.ring import FrameRing
from vms.proto import subjects
from vms.proto.convert import decode
from vms.proto.messages import GopHeader, GopRequest, StreamUnit

STREAM = StreamId("cam1-main")


@pytest.fixture
def ring() -> FrameRing:
    ring = FrameRing(seconds=8, max_bytes=1 << 20)
    ring.set_parameters(PARAMS)
    for unit in stream(30):
        ring.append(unit)
    return ring


def made() -> tuple[LiveStream, FakeBus, ManualClock]:
    bus, clock = FakeBus(), ManualClock()
    return LiveStream(STREAM, bus.as_bus(), clock), bus, clock


def test_a_request_is_answered_with_the_parameters_and_the_frames_since_the_last_keyframe(ring: FrameRing) -> None:
    live, _, _ = made()
    header, *frames = live.open(GopRequest(), ring)
    assert decode(GopHeader, header) == GopHeader(PARAMS, 25, 5)
    assert [decode(StreamUnit, frame).unit.seq for frame in frames] == [25, 26, 27, 28, 29]
    assert not live.wanted


def test_a_lease_makes_frames_wanted_until_it_ends_and_is_renewed_by_asking_again(ring: FrameRing) -> None:
    live, _, clock = made()
    live.open(GopRequest(lease_s=5), ring)
    clock.advance(4.9)
    live.expire()
    assert live.wanted
    live.open(GopRequest(lease_s=5), ring)
    clock.advance(4.9)
    live.expire()
    assert live.wanted
    clock.advance(0.1)
    live.expire()
    assert not live.wanted


def test_no_consumer_gets_a_longer_lease_than_ten_seconds(ring: FrameRing) -> None:
    live, _, clock = made()
    live.open(GopRequest(lease_s=1e9), ring)
    clock.advance(10)
    live.expire()
    assert not live.wanted


def test_frames_go_out_on_the_streams_subject_with_their_codec(ring: FrameRing) -> None:
    live, bus, _ = made()
    unit = ring.gop()[0]
    live.publish(unit, PARAMS)
    ((subject, payload),) = bus.published
    assert subject == subjects.media_au(STREAM)
    sent = decode(StreamUnit, payload)
    assert (sent.stream_id, sent.codec, sent.unit.payload) == (STREAM, PARAMS.codec, unit.payload)
    assert (live.published_total, live.dropped_total) == (1, 0)


def test_a_frame_that_the_bus_does_not_take_is_counted(ring: FrameRing) -> None:
    live, bus, _ = made()
    bus.away = True
    live.publish(ring.gop()[0], PARAMS)
    assert (live.published_total, live.dropped_total) == (0, 1)


def test_without_a_picture_the_request_is_refused_and_nothing_is_leased() -> None:
    live, _, _ = made()
    with pytest.raises(VmsError, match="no picture") as caught:
        live.open(GopRequest(lease_s=5), FrameRing(seconds=8, max_bytes=1000))
    assert caught.value.kind is ErrorKind.UNAVAILABLE
    assert not live.wanted
