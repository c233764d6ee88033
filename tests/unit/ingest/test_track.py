import asyncio
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.clock import LoopClock, cancelled, run_virtual, settle
from tests.support.ingest import AWAY, DISK_FULL, FakeBus, FakeOutbox, FakeVolume, FakeWriter, stream
from tests.support.recordings import CAMERA, PARAMS, START_US

from vms.common.clock import ManualClock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import AccessUnit, Container, FrameFlag, VideoParameters
from vms.format.recording import RecordingWriter
from vms.format.volume import VolumeWriter
from vms.ingest.announcements import Announcer
from vms.ingest.gaps import GapTracker
from vms.ingest.recorder import StreamRecorder
from vms.ingest.track import BusTrack, DiskTrack
from vms.proto import subjects
from vms.proto.convert import decode
from vms.proto.messages import AnnouncementKind, FragmentPart, GapCause, RecordingAnnouncement

TIMEOUT = VmsError(ErrorKind.TIMEOUT, "no acknowledgement")
OTHER = VideoParameters(PARAMS.codec, 640, 480, PARAMS.codec_private, PARAMS.codec_string)


class Disk:
    """A DiskTrack with what it stands on."""

    def __init__(self) -> None:
        self.writer, self.volume, self.outbox = FakeWriter(), FakeVolume(), FakeOutbox()
        clock = LoopClock()
        gaps = GapTracker(CAMERA, None)
        announcer = Announcer(CAMERA, volume="main", worker="w", outbox=self.outbox.as_outbox(), gaps=gaps, clock=clock)
        recorder = StreamRecorder(
            cast("RecordingWriter", self.writer),
            cast("VolumeWriter", self.volume),
            clock=clock,
            fragment_s=1.0,
            hold_s=8.0,
            on_event=announcer.handle,
            on_interruption=gaps.interrupted,
        )
        self.track = DiskTrack(recorder, announcer)
        self.track.set_parameters(PARAMS)

    def send(self, units: list[AccessUnit]) -> None:
        for unit in units:
            self.track.add(unit)

    @property
    def announced(self) -> list[AnnouncementKind]:
        return [decode(RecordingAnnouncement, payload).kind for _, payload, _, _ in self.outbox.sent]


def test_what_the_disk_reports_is_announced_within_half_a_second() -> None:
    async def scenario() -> None:
        disk = Disk()
        task = asyncio.create_task(disk.track.run())
        disk.send(stream(25))
        disk.volume.run()
        before = disk.track.is_recording
        await asyncio.sleep(0.6)
        assert disk.announced == [AnnouncementKind.OPENED]
        assert (before, disk.track.is_recording) == (False, True)
        disk.volume.runs_at_once = True
        await cancelled(task)

    run_virtual(scenario())


def test_at_the_end_the_unfinished_fragment_is_written_and_the_file_closed_and_announced() -> None:
    async def scenario() -> None:
        disk = Disk()
        task = asyncio.create_task(disk.track.run())
        await settle()
        disk.send(stream(30))
        disk.volume.runs_at_once = True
        await cancelled(task)
        assert disk.writer.frames == list(range(30))
        assert disk.announced == [AnnouncementKind.OPENED, AnnouncementKind.CLOSED]

    run_virtual(scenario())


def test_the_end_waits_for_a_disk_that_is_busy() -> None:
    async def scenario() -> None:
        disk = Disk()
        task = asyncio.create_task(disk.track.run())
        await settle()
        disk.send(stream(30))
        task.cancel()
        await settle()
        assert not task.done()
        disk.volume.run()
        await asyncio.wait({task})
        assert disk.writer.closes == 1

    run_virtual(scenario())


def test_a_disk_that_fails_is_shown_as_not_recording_with_its_error() -> None:
    async def scenario() -> None:
        disk = Disk()
        disk.send(stream(25))
        disk.volume.run()
        disk.track.recorder.poll()
        disk.writer.failures = [DISK_FULL]
        disk.send(stream(50, first=25))
        disk.volume.run()
        assert disk.track.error is DISK_FULL
        assert not disk.track.is_recording
        assert disk.track.behind_s == 2

    run_virtual(scenario())


def test_an_interruption_becomes_the_cause_of_the_gap_that_follows_it() -> None:
    async def scenario() -> None:
        disk = Disk()
        disk.volume.runs_at_once = True
        disk.send(stream(10))
        disk.track.flush()
        disk.track.interrupted(GapCause.AUTH, "401")
        disk.send(stream(25, first=500, discontinuity=True))
        disk.track.recorder.poll()
        assert disk.track.gaps_total == 1
        (gap,) = (a.gap for _, p, _, _ in disk.outbox.sent if (a := decode(RecordingAnnouncement, p)).gap)
        assert (gap.cause, gap.detail) == (GapCause.AUTH, "401")

    run_virtual(scenario())


class Sent:
    """A BusTrack, its bus, and the fragments that arrived there, put together as the storage service does."""

    def __init__(self, max_bytes: int = 1 << 20) -> None:
        self.bus = FakeBus()
        self.track = BusTrack(
            CAMERA,
            container=Container.MKV,
            session_id="ses1",
            bus=self.bus.as_bus(),
            clock=ManualClock(),
            fragment_s=1.0,
            max_bytes=max_bytes,
        )
        self.track.set_parameters(PARAMS)

    def send(self, units: list[AccessUnit]) -> None:
        for unit in units:
            self.track.add(unit)

    @property
    def parts(self) -> list[FragmentPart]:
        return [decode(FragmentPart, payload) for _, payload, _ in self.bus.stored]

    @property
    def fragments(self) -> dict[int, list[FragmentPart]]:
        """Complete fragments by number."""
        found: dict[int, list[FragmentPart]] = {}
        for part in self.parts:
            found.setdefault(part.fragment_seq, []).append(part)
        return {seq: parts for seq, parts in found.items() if [p.part for p in parts] == list(range(parts[0].parts))}

    @property
    def frames(self) -> list[int]:
        """Sequence numbers of the frames, read back from their payloads."""
        numbers = []
        for parts in self.fragments.values():
            data = b"".join(part.data for part in parts)
            for row in parts[0].units:
                payload, data = data[: row.size], data[row.size :]
                numbers.append(int.from_bytes(payload[5:9], "big"))
            assert not data
        return numbers


def test_a_fragment_arrives_whole_with_everything_that_its_writer_needs() -> None:
    async def scenario() -> None:
        sent = Sent()
        task = asyncio.create_task(sent.track.run())
        sent.send(stream(25))
        await settle()
        (part,) = sent.parts
        assert (part.camera_id, part.session_id, part.fragment_seq, part.parts) == (CAMERA, "ses1", 0, 1)
        assert (part.container, part.parameters) == (Container.MKV, PARAMS)
        assert (part.wall_us, part.duration_90k, part.flags) == (START_US, 90_000, FrameFlag.KEYFRAME)
        first, second = part.units[:2]
        assert (first.dts_90k, first.capture_us, first.flags) == (0, START_US, 1)
        assert (second.dts_90k, second.capture_us, second.flags) == (3600, START_US + 40_000, 0)
        assert sent.bus.stored[0][0] == subjects.fragment(CAMERA)
        assert sent.frames == list(range(25))
        assert sent.track.is_recording
        await cancelled(task)

    run_virtual(scenario())


@settings(max_examples=15)
@given(st.lists(st.integers(9, 900_000), min_size=1, max_size=4))
def test_fragments_larger_than_a_message_are_put_together_again(sizes: list[int]) -> None:
    async def scenario() -> None:
        sent = Sent(max_bytes=1 << 26)
        task = asyncio.create_task(sent.track.run())
        units = stream(len(sizes))
        for unit, size in zip(units, sizes, strict=True):
            unit.payload = unit.payload[:9] + bytes(size - 9)
        sent.send(units)
        sent.track.flush()
        await settle(200)
        assert sent.frames == [unit.seq for unit in units]
        assert all(len(payload) < 1 << 20 for _, payload, _ in sent.bus.stored)
        (parts,) = sent.fragments.values()
        assert b"".join(part.data for part in parts) == b"".join(unit.payload for unit in units)
        await cancelled(task)

    run_virtual(scenario())


@settings(max_examples=40)
@given(st.lists(st.sampled_from([None, None, TIMEOUT]), max_size=20), st.sampled_from(["message", "acknowledgement"]))
def test_after_any_failures_every_frame_arrives_once_and_in_order(
    failures: list[VmsError | None], what_is_lost: str
) -> None:
    async def scenario() -> None:
        sent = Sent()
        sent.bus.loses_acknowledgements = what_is_lost == "acknowledgement"
        sent.bus.failures = list(failures)
        task = asyncio.create_task(sent.track.run())
        sent.send(stream(100))
        await asyncio.sleep(30)
        assert sent.frames == list(range(100))
        assert list(sent.fragments) == [0, 1, 2, 3]
        assert (sent.track.error, sent.track.behind_s, sent.track.fragments_lost) == (None, 0, 0)
        await cancelled(task)

    run_virtual(scenario())


def test_while_the_bus_is_away_fragments_wait_and_the_reason_is_shown() -> None:
    async def scenario() -> None:
        sent = Sent()
        sent.bus.away = True
        task = asyncio.create_task(sent.track.run())
        sent.send(stream(50))
        await asyncio.sleep(1)
        assert sent.track.behind_s == 2
        assert str(sent.track.error) == AWAY.message
        assert not sent.track.is_recording
        sent.bus.away = False
        await asyncio.sleep(1)
        assert sent.frames == list(range(50))
        assert str(sent.track.error) == "None"
        await cancelled(task)

    run_virtual(scenario())


def test_beyond_its_memory_the_oldest_group_of_pictures_goes_and_the_next_is_marked() -> None:
    async def scenario() -> None:
        sent = Sent(max_bytes=6 * 25 * 40)
        sent.bus.away = True
        task = asyncio.create_task(sent.track.run())
        sent.send(stream(8 * 25, gop=50))
        assert sent.track.fragments_lost == 2
        await asyncio.sleep(1)
        sent.bus.away = False
        await asyncio.sleep(1)
        assert sent.frames == list(range(50, 200))
        first = sent.parts[0]
        assert first.flags & FrameFlag.KEYFRAME
        assert first.flags & FrameFlag.DISCONTINUITY
        await cancelled(task)

    run_virtual(scenario())


def test_when_everything_had_to_go_sending_goes_on_at_the_next_keyframe() -> None:
    async def scenario() -> None:
        sent = Sent(max_bytes=2 * 25 * 40)
        sent.bus.away = True
        task = asyncio.create_task(sent.track.run())
        sent.send(stream(275, gop=125))
        sent.bus.away = False
        await asyncio.sleep(1)
        assert sent.frames == list(range(250, 275))
        assert sent.track.fragments_lost == 10
        await cancelled(task)

    run_virtual(scenario())


def test_a_fragment_dropped_while_it_was_under_way_never_lends_its_number_to_another() -> None:
    async def scenario() -> None:
        sent = Sent(max_bytes=2_000_000)
        big = stream(2, gop=1)
        for unit in big:
            unit.payload = unit.payload[:9] + bytes([unit.seq]) * 1_200_000
        sent.bus.failures = [None, TIMEOUT]  # one part of the first fragment gets through
        task = asyncio.create_task(sent.track.run())
        sent.track.add(big[0])
        sent.track.flush()
        await settle()
        assert [part.part for part in sent.parts] == [0]
        sent.track.add(big[1])
        sent.track.flush()
        await asyncio.sleep(5)
        assert list(sent.fragments) == [1]
        assert sent.frames == [1]
        await cancelled(task)

    run_virtual(scenario())


def test_at_the_end_what_waits_is_sent_the_unfinished_fragment_too() -> None:
    async def scenario() -> None:
        sent = Sent()
        task = asyncio.create_task(sent.track.run())
        await settle()
        sent.send(stream(60))
        await cancelled(task)
        assert sent.frames == list(range(60))

    run_virtual(scenario())


def test_the_end_does_not_wait_for_a_bus_that_is_away() -> None:
    async def scenario() -> None:
        sent = Sent()
        sent.bus.away = True
        task = asyncio.create_task(sent.track.run())
        sent.send(stream(60))
        await asyncio.sleep(1)
        before = asyncio.get_running_loop().time()
        await cancelled(task)
        assert asyncio.get_running_loop().time() - before < 0.5

    run_virtual(scenario())


def test_new_parameters_begin_a_fragment_of_their_own() -> None:
    async def scenario() -> None:
        sent = Sent()
        task = asyncio.create_task(sent.track.run())
        sent.send(stream(10))
        sent.track.set_parameters(OTHER)
        sent.send(stream(25, first=10))
        await settle()
        assert [(part.parameters.width, len(part.units)) for part in sent.parts] == [(320, 10), (640, 25)]
        await cancelled(task)

    run_virtual(scenario())


def test_before_the_parameters_are_known_nothing_is_sent_and_a_gap_is_left_to_the_storage_service() -> None:
    async def scenario() -> None:
        sent = Sent()
        track = BusTrack(
            CAMERA,
            container=Container.MP4,
            session_id="ses2",
            bus=sent.bus.as_bus(),
            clock=ManualClock(),
            fragment_s=1.0,
            max_bytes=1000,
        )
        for unit in stream(30):
            track.add(unit)
        track.interrupted(GapCause.NETWORK, "reset")
        assert (track.behind_s, track.gaps_total) == (0, 0)

    run_virtual(scenario())


def test_a_bug_in_the_bus_is_not_taken_for_its_absence() -> None:
    async def scenario() -> None:
        sent = Sent()
        sent.bus.failures = [cast("VmsError", KeyError("bug"))]
        task = asyncio.create_task(sent.track.run())
        sent.send(stream(25))
        with pytest.raises(KeyError):
            await task

    run_virtual(scenario())
