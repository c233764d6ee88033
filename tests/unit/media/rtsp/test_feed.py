"""Feeds: what a viewer gets, from when on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.rtsp_viewer import ManualSource

from vms.media.rtsp import feed as feed_module
from vms.media.rtsp.feed import Frame, FrameFeed


class _Sink:
    def __init__(self) -> None:
        self.frames: list[int] = []
        self.ended = 0

    def frame(self, frame: Frame) -> None:
        self.frames.append(frame.index)

    def end(self) -> None:
        self.ended += 1


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 40))
@settings(max_examples=100)
def test_backlog_and_live_frames_together_are_all_from_the_latest_keyframe(keyframes: list[bool], joined: int) -> None:
    source, sink = ManualSource(), _Sink()
    subscription = None
    for number, keyframe in enumerate(keyframes):
        if number == joined:
            subscription = source.feed.subscribe(sink)
        source.publish(keyframe=keyframe)
    if subscription is not None:
        seen = [frame.index for frame in subscription.backlog] + sink.frames
        latest = max((n for n in range(joined) if keyframes[n]), default=joined)
        assert seen == list(range(latest, len(keyframes)))


def test_a_gop_beyond_the_bound_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "MAX_GOP_BYTES", 1000)
    source = ManualSource()
    source.publish(keyframe=True, size=500)
    assert len(source.feed.subscribe(_Sink()).backlog) == 1
    source.publish(size=600)
    assert source.feed.subscribe(_Sink()).backlog == ()
    source.publish(size=1)
    assert source.feed.subscribe(_Sink()).backlog == ()
    source.publish(keyframe=True)
    assert len(source.feed.subscribe(_Sink()).backlog) == 1


def test_a_sink_may_leave_while_frames_are_handed_out() -> None:
    source = ManualSource()

    class Leaver(_Sink):
        def frame(self, frame: Frame) -> None:
            super().frame(frame)
            subscription.close()

    leaver, other = Leaver(), _Sink()
    subscription = source.feed.subscribe(leaver)
    rest = source.feed.subscribe(other)
    source.publish(keyframe=True)
    source.publish()
    subscription.close()
    assert (leaver.frames, other.frames) == ([0], [0, 1])
    assert source.feed.watched
    rest.close()
    assert not source.feed.watched


def test_the_end_reaches_every_sink_once() -> None:
    feed, sinks = FrameFeed(), [_Sink(), _Sink()]
    for sink in sinks:
        feed.subscribe(sink)
    feed.end()
    assert [sink.ended for sink in sinks] == [1, 1]


def test_sequence_numbers_and_counts_run_on_from_frame_to_frame() -> None:
    source = ManualSource()
    first, second = source.make(keyframe=True, size=3000), source.make()
    assert (first.index, first.sequence, first.packets) == (0, 65_530, 3)
    assert (second.index, second.sequence) == (1, 65_533)
    assert second.rtp_timestamp == 1000 + 3600
    assert second.octets == 1 + 4 + 100
    assert first.octets == 4 + 3000 + 3 * 2  # two bytes of fragmentation header in place of the NAL header


def test_another_channel_is_made_once_and_shared() -> None:
    frame = ManualSource().make(size=3000)
    assert frame.on_channel(0) is frame.blob
    moved = frame.on_channel(6)
    assert moved[1] == 6
    assert len(moved) == len(frame.blob)
    assert frame.on_channel(6) is moved
