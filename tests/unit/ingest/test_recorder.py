import sys
import threading
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.ingest import DISK_FULL, FakeVolume, FakeWriter, stream
from tests.support.recordings import CAMERA, PARAMS, START_US

from vms.common.clock import ManualClock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, FrameFlag, VideoParameters
from vms.format.model import FragmentWritten, RecordingEvent, SegmentClosed, SegmentOpened
from vms.format.recording import RecordingWriter
from vms.format.volume import VolumeWriter
from vms.ingest.gaps import GapTracker, Interruption
from vms.ingest.recorder import StreamRecorder
from vms.proto.messages import Gap, GapCause

OTHER = VideoParameters(PARAMS.codec, 640, 480, PARAMS.codec_private, PARAMS.codec_string)
INVALID = VmsError(ErrorKind.INVALID, "times that fit nowhere")


class Desk:
    """A recorder between a camera and a disk that the test controls."""

    def __init__(self, hold_s: float = 8.0) -> None:
        self.writer, self.volume, self.clock = FakeWriter(), FakeVolume(), ManualClock()
        self.told: list[RecordingEvent | Interruption] = []
        self.gaps: list[Gap] = []
        self._tracker = GapTracker(CAMERA, None)
        self.recorder = StreamRecorder(
            cast("RecordingWriter", self.writer),
            cast("VolumeWriter", self.volume),
            clock=self.clock,
            fragment_s=1.0,
            hold_s=hold_s,
            on_event=self._event,
            on_interruption=self._interruption,
        )
        self.recorder.set_parameters(PARAMS)

    def _event(self, event: RecordingEvent) -> None:
        self.told.append(event)
        if isinstance(event, FragmentWritten):
            gap = self._tracker.recorded(event.record.wall_start_us, event.record.wall_end_us)
            if gap is not None:
                self.gaps.append(gap)

    def _interruption(self, interruption: Interruption) -> None:
        self.told.append(interruption)
        self._tracker.interrupted(interruption)

    def send(self, units: list[AccessUnit]) -> None:
        for unit in units:
            self.recorder.add(unit)

    def work(self) -> None:
        """Let the disk do what is queued, and deliver what it reports."""
        self.volume.run()
        self.recorder.poll()
        self.volume.run()
        self.recorder.take_events()

    def errors(self) -> list[VmsError]:
        return [] if self.recorder.error is None else [self.recorder.error]

    def close(self) -> list[str]:
        done: list[str] = []
        self.recorder.close(lambda: done.append("done"))
        self.volume.run()
        self.recorder.take_events()
        return done


def numbers(first: int, last: int) -> list[int]:
    return list(range(first, last))


def test_frames_reach_the_disk_in_order_and_its_reports_come_back_in_order() -> None:
    desk = Desk()
    desk.send(stream(75))
    desk.work()
    assert desk.writer.frames == numbers(0, 75)
    assert [type(event) for event in desk.told] == [SegmentOpened] + 3 * [FragmentWritten]
    assert (desk.recorder.behind_s, desk.recorder.fragments_lost, desk.recorder.error) == (0, 0, None)


def test_nothing_is_taken_before_the_parameters_are_known() -> None:
    desk = Desk()
    desk.recorder = StreamRecorder(
        cast("RecordingWriter", desk.writer),
        cast("VolumeWriter", desk.volume),
        clock=desk.clock,
        fragment_s=1.0,
        hold_s=8.0,
        on_event=desk.told.append,
        on_interruption=desk.told.append,
    )
    desk.send(stream(30))
    desk.work()
    assert desk.writer.written == []


def test_new_parameters_end_the_fragment_of_the_old_ones() -> None:
    desk = Desk()
    desk.send(stream(15)[:10])
    desk.recorder.set_parameters(PARAMS)
    desk.send(stream(15)[10:])
    desk.recorder.set_parameters(OTHER)
    desk.send(stream(25, first=15))
    desk.work()
    assert [len(fragment.units) for fragment in desk.writer.written] == [15, 25]
    assert desk.writer.parameters == [PARAMS, OTHER]


@given(st.integers(1, 8), st.integers(0, 24))
def test_a_disk_that_is_slow_for_less_than_the_hold_loses_nothing(seconds: int, more_frames: int) -> None:
    desk = Desk()
    frames = seconds * 25 + (more_frames if seconds < 8 else 0)
    desk.send(stream(frames))
    assert desk.recorder.behind_s == seconds
    desk.work()
    desk.close()
    assert desk.writer.frames == numbers(0, frames)
    assert desk.recorder.fragments_lost == 0
    assert desk.gaps == []


def test_beyond_the_hold_the_oldest_group_of_pictures_goes_and_the_next_is_marked() -> None:
    desk = Desk(hold_s=8)
    desk.send(stream(10 * 25, gop=50))
    desk.work()
    # Two seconds that depend on each other went with their keyframe.
    assert desk.writer.frames == numbers(50, 250)
    assert desk.recorder.fragments_lost == 2
    assert desk.writer.written[0].flags & FrameFlag.DISCONTINUITY
    assert not any(fragment.flags & FrameFlag.DISCONTINUITY for fragment in desk.writer.written[1:])


def test_when_a_whole_group_of_pictures_is_lost_recording_goes_on_at_the_next_keyframe() -> None:
    desk = Desk(hold_s=2)
    desk.send(stream(175, gop=125))
    assert desk.recorder.fragments_lost == 5
    desk.work()
    assert desk.writer.frames == numbers(125, 175)
    assert desk.writer.written[0].flags & FrameFlag.KEYFRAME
    assert desk.writer.written[0].flags & FrameFlag.DISCONTINUITY


def test_the_fragment_that_is_being_written_is_not_dropped() -> None:
    desk = Desk(hold_s=2)
    desk.send(stream(25))

    def meanwhile() -> None:
        desk.writer.before_write = lambda: None
        desk.send(stream(200, first=25))

    desk.writer.before_write = meanwhile
    desk.work()
    frames = desk.writer.frames
    assert frames[:25] == numbers(0, 25)
    assert frames == sorted(set(frames))
    assert frames[-25:] == numbers(200, 225)
    assert desk.recorder.behind_s == 0


def test_a_disk_error_loses_nothing_while_it_is_tried_again_a_second_later() -> None:
    desk = Desk()
    desk.writer.failures = [DISK_FULL, DISK_FULL]
    desk.send(stream(50))
    desk.work()
    assert desk.errors() == [DISK_FULL]
    assert desk.writer.frames == []
    desk.clock.advance(0.9)
    desk.work()
    assert len(desk.writer.failures) == 1
    desk.clock.advance(0.1)
    desk.work()
    desk.clock.advance(1)
    desk.work()
    assert desk.writer.frames == numbers(0, 50)
    assert desk.errors() == []
    assert (desk.recorder.fragments_lost, desk.gaps) == (0, [])


@pytest.mark.parametrize("failure", [INVALID, RuntimeError("a bug")])
def test_a_fragment_that_cannot_be_written_at_all_is_the_only_one_that_is_lost(failure: Exception) -> None:
    desk = Desk()
    desk.send(stream(25))
    desk.work()
    desk.writer.failures = [failure]
    desk.send(stream(50, first=25))
    desk.work()
    assert desk.recorder.fragments_lost == 1
    assert len(desk.errors()) == 1
    desk.clock.advance(1)
    desk.work()
    assert desk.writer.frames == numbers(0, 25) + numbers(50, 75)
    assert desk.errors() == []


def test_a_full_queue_of_the_volume_only_defers() -> None:
    desk = Desk()
    desk.volume.is_full = True
    desk.send(stream(75))
    assert desk.volume.jobs == []
    desk.volume.is_full = False
    desk.work()
    assert desk.writer.frames == numbers(0, 75)


def test_the_mark_that_a_job_is_queued_is_there_before_the_job_can_run() -> None:
    desk = Desk()
    desk.volume.runs_at_once = True  # as when the writer thread is done before submit returns
    desk.send(stream(75))
    assert desk.writer.frames == numbers(0, 75)


def test_close_writes_all_that_waits_the_unfinished_fragment_too() -> None:
    desk = Desk()
    desk.volume.is_full = True
    desk.send(stream(60))
    desk.volume.is_full = False
    assert desk.close() == ["done"]
    assert desk.writer.frames == numbers(0, 60)
    assert desk.writer.closes == 1
    assert isinstance(desk.told[-1], SegmentClosed)


def test_close_goes_on_behind_a_fragment_that_cannot_be_written() -> None:
    desk = Desk()
    desk.volume.is_full = True
    desk.send(stream(75))
    desk.volume.is_full = False
    desk.writer.failures = [INVALID, RuntimeError("a bug")]
    assert desk.close() == ["done"]
    assert desk.writer.frames == numbers(50, 75)
    assert desk.writer.closes == 1


def test_close_ends_even_when_the_disk_does_not_come_back_or_is_closed_already() -> None:
    desk = Desk()
    desk.send(stream(75))
    desk.writer.failures = [DISK_FULL] * 10
    assert desk.close() == ["done"]
    desk.volume.is_full = True
    assert desk.close() == ["done"]


def test_a_camera_that_is_gone_has_its_file_synced_and_after_a_minute_completed() -> None:
    desk = Desk()
    desk.send(stream(25))
    desk.work()
    assert (desk.writer.syncs, desk.writer.closes) == (0, 0)
    desk.clock.advance(10)
    desk.work()
    assert (desk.writer.syncs, desk.writer.closes) == (1, 0)
    desk.clock.advance(51)
    desk.work()
    desk.clock.advance(100)
    desk.work()
    assert desk.writer.closes == 1
    desk.send(stream(25, first=25))
    desk.work()
    assert desk.writer.frames == numbers(0, 50)


def test_errors_of_a_sync_and_of_completing_a_file_are_shown() -> None:
    desk = Desk()
    desk.send(stream(25))
    desk.work()
    for seconds in (5, 60):
        desk.clock.advance(seconds)
        desk.writer.failures = [DISK_FULL]
        desk.recorder.error = None
        desk.work()
        assert desk.recorder.error is DISK_FULL


def after_pause(units: list[AccessUnit], seconds: float) -> list[AccessUnit]:
    for unit in units:
        unit.capture_us += round(seconds * 1e6)
    return units


def test_a_gap_has_its_cause_although_the_last_fragment_is_written_after_the_interruption() -> None:
    desk = Desk()
    desk.send(stream(30))
    desk.recorder.flush()
    desk.recorder.interrupted(Interruption(GapCause.NETWORK, "reset"))
    desk.recorder.interrupted(Interruption(GapCause.CAMERA_OFFLINE, "refused"))
    desk.work()
    assert desk.gaps == []
    desk.send(after_pause(stream(25, first=50, discontinuity=True), 20))
    desk.work()
    (gap,) = desk.gaps
    assert (gap.cause, gap.detail) == (GapCause.NETWORK, "reset")
    assert (gap.start_us, gap.end_us) == (START_US + 1_200_000, START_US + 22_000_000)


def test_a_gap_that_the_disk_made_says_so_although_earlier_fragments_are_written_after_the_loss() -> None:
    desk = Desk(hold_s=2)
    desk.send(stream(25))

    def meanwhile() -> None:
        desk.writer.before_write = lambda: None
        desk.send(stream(5 * 25, first=25))

    desk.writer.before_write = meanwhile
    desk.work()
    (gap,) = desk.gaps
    assert gap.cause is GapCause.DISK_FULL
    assert gap.detail == "the disk is too slow"


def test_a_gap_that_began_at_the_camera_and_went_on_at_the_disk_is_the_cameras() -> None:
    desk = Desk(hold_s=2)
    desk.send(stream(25))
    desk.work()
    desk.recorder.interrupted(Interruption(GapCause.NETWORK, "reset"))
    desk.writer.failures = [DISK_FULL]
    desk.send(after_pause(stream(75, first=25), 10))
    desk.volume.run()
    desk.send(after_pause(stream(50, first=100), 10))
    desk.clock.advance(1)
    desk.work()
    (gap,) = desk.gaps
    assert gap.cause is GapCause.NETWORK


def test_an_error_of_the_disk_is_the_detail_of_what_it_lost() -> None:
    desk = Desk(hold_s=1)
    desk.send(stream(25))
    desk.work()
    desk.writer.failures = [DISK_FULL]
    desk.send(stream(25, first=25))
    desk.volume.run()
    desk.send(stream(100, first=50))
    desk.clock.advance(1)
    desk.work()
    assert {(gap.cause, gap.detail) for gap in desk.gaps} == {(GapCause.DISK_FULL, DISK_FULL.message)}


actions = st.sampled_from(["frames", "frames", "frames", "work", "second", "disk", "invalid", "bug", "full", "free"])


@settings(max_examples=60)
@given(st.lists(actions, max_size=40), st.integers(1, 60), st.integers(1, 9))
def test_whatever_the_disk_does_frames_are_written_once_in_order_and_only_lost_ones_are_missing(
    happenings: list[str], gop: int, hold_s: int
) -> None:
    desk = Desk(hold_s=hold_s)
    sent = 0
    for happening in happenings:
        match happening:
            case "frames":
                desk.send(stream(20, gop=gop, first=sent) if sent % gop == 0 else continued(sent, 20, gop))
                sent += 20
            case "work":
                desk.work()
            case "second":
                desk.clock.advance(1)
            case "full" | "free":
                desk.volume.is_full = happening == "full"
            case _:
                failure = {"disk": DISK_FULL, "invalid": INVALID, "bug": RuntimeError("bug")}[happening]
                desk.writer.failures.append(failure)
        assert desk.recorder.behind_s <= hold_s + 1
    desk.volume.is_full = False
    desk.writer.failures.clear()
    assert desk.close() == ["done"]
    frames = desk.writer.frames
    assert frames == sorted(set(frames))
    assert desk.recorder.behind_s == 0
    if desk.recorder.fragments_lost == 0:
        assert frames == numbers(0, sent)
    for fragment in desk.writer.written:
        if fragment.flags & FrameFlag.DISCONTINUITY:  # nobody could decode what follows a loss otherwise
            assert fragment.flags & FrameFlag.KEYFRAME


def continued(first: int, frames: int, gop: int) -> list[AccessUnit]:
    units = stream(frames, gop=10_000, first=first)
    units[0].flags &= ~FrameFlag.KEYFRAME
    for unit in units:
        if unit.seq % gop == 0:
            unit.flags |= FrameFlag.KEYFRAME
    return units


def test_with_a_real_writer_thread_no_fragment_is_ever_forgotten() -> None:
    clock, writer = ManualClock(), FakeWriter()
    told: list[object] = []
    volume = VolumeWriter("main", 1 << 20, clock)
    volume.start()
    recorder = StreamRecorder(
        cast("RecordingWriter", writer),
        volume,
        clock=clock,
        fragment_s=1.0,
        hold_s=1e6,
        on_event=told.append,
        on_interruption=told.append,
    )
    recorder.set_parameters(PARAMS)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # the threads meet at every possible place
    try:
        for unit in stream(5000, gop=1):
            recorder.add(unit)
    finally:
        sys.setswitchinterval(interval)
    done = threading.Event()
    finish: Callable[[], object] = done.set
    recorder.close(finish)
    assert done.wait(20)
    volume.stop()
    recorder.take_events()
    assert writer.frames == numbers(0, 5000)
    assert sum(isinstance(event, FragmentWritten) for event in told) == 5000
