from tests.support.ingest import FakeOutbox, fragment_written, segment_closed, segment_opened
from tests.support.recordings import CAMERA, PARAMS, START_US, fragment

from vms.common.clock import ManualClock
from vms.common.stream import Container
from vms.ingest.announcements import Announcer
from vms.ingest.gaps import GapTracker, Interruption
from vms.proto import subjects
from vms.proto.convert import decode
from vms.proto.messages import AnnouncementKind, Gap, GapCause, RecordingAnnouncement, RecordingFile


class Desk:
    """An announcer with what it stands on."""

    def __init__(self, last_end_us: int | None = None) -> None:
        self.outbox, self.clock = FakeOutbox(), ManualClock()
        self.gaps = GapTracker(CAMERA, last_end_us)
        self.announcer = Announcer(
            CAMERA,
            volume="main",
            worker="w1",
            outbox=self.outbox.as_outbox(),
            gaps=self.gaps,
            clock=self.clock,
        )

    @property
    def sent(self) -> list[RecordingAnnouncement]:
        return [decode(RecordingAnnouncement, payload) for _, payload, _, _ in self.outbox.sent]


def test_a_file_is_announced_when_it_is_opened_and_closed_with_all_there_is_to_know() -> None:
    desk = Desk()
    desk.announcer.handle(segment_opened(size_bytes=800))
    desk.announcer.handle(segment_closed(size_bytes=5000))
    assert [announcement.kind for announcement in desk.sent] == [AnnouncementKind.OPENED, AnnouncementKind.CLOSED]
    assert desk.sent[1] == RecordingAnnouncement(
        CAMERA,
        "w1",
        AnnouncementKind.CLOSED,
        file=RecordingFile(
            volume="main",
            path=f"cameras/{CAMERA}/2026-03-01/video_10.mp4",
            container=Container.MP4,
            parameters=PARAMS,
            start_us=START_US,
            end_us=START_US + 1_000_000,
            size_bytes=5000,
            frames=25,
            fragments=1,
        ),
    )
    assert [subject for subject, *_ in desk.outbox.sent] == [
        subjects.recording(CAMERA, AnnouncementKind.OPENED),
        subjects.recording(CAMERA, AnnouncementKind.CLOSED),
    ]


def test_progress_is_told_every_ten_seconds_and_may_be_dropped() -> None:
    desk = Desk()
    desk.announcer.handle(segment_opened())
    for second in range(1, 26):
        desk.clock.advance(1)
        desk.announcer.handle(fragment_written(fragment(second), size_bytes=1000 * second))
    progress = [announcement for announcement in desk.sent if announcement.kind is AnnouncementKind.PROGRESS]
    assert [announcement.file.size_bytes for announcement in progress if announcement.file] == [10_000, 20_000]
    assert [droppable for *_, droppable in desk.outbox.sent] == [False, True, True]


def test_every_message_has_an_id_of_its_own_and_a_repeated_one_the_same() -> None:
    desk = Desk()
    events = [segment_opened(), segment_closed(size_bytes=1), segment_closed(size_bytes=2)]
    for event in [*events, *events]:
        desk.announcer.handle(event)
    ids = [msg_id for _, _, msg_id, _ in desk.outbox.sent]
    assert ids[:3] == ids[3:]
    assert len(set(ids)) == 3


def test_a_gap_is_announced_with_its_cause_and_counted() -> None:
    desk = Desk()
    desk.announcer.handle(fragment_written(fragment(0)))
    desk.gaps.interrupted(Interruption(GapCause.NETWORK, "reset"))
    desk.announcer.handle(fragment_written(fragment(20)))
    (announcement,) = (a for a in desk.sent if a.kind is AnnouncementKind.GAP)
    gap = Gap(CAMERA, START_US + 1_000_000, START_US + 20_000_000, GapCause.NETWORK, "reset")
    assert announcement.gap == gap
    assert desk.announcer.gaps_total == 1
    assert desk.announcer.gap_us_total == {"network": 19_000_000}


def test_what_is_written_is_counted() -> None:
    desk = Desk()
    for number in range(3):
        desk.announcer.handle(fragment_written(fragment(number)))
    assert (desk.announcer.fragments_total, desk.announcer.bytes_total) == (3, 300)
    assert desk.announcer.last_written_us == START_US + 3_000_000
    assert desk.announcer.gaps_total == 0
