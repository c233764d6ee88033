import errno
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.nats import until
from tests.support.recordings import CAMERA, PARAMS, START_US, fragment
from tests.support.storage import FakePublisher, delivery

from vms.bus.outbox import Outbox
from vms.common.clock import ManualClock
from vms.common.errors import ErrorKind, VmsError
from vms.common.stream import Container, FrameFlag
from vms.common.volumes import VolumeSettings
from vms.format import segment
from vms.format.check import check
from vms.format.model import Fragment
from vms.format.reader import SegmentReader
from vms.proto.convert import decode
from vms.proto.messages import FragmentPart, FragmentUnit, GapCause, RecordingAnnouncement
from vms.storage.policies import CameraPolicies
from vms.storage.sink import SPOOL, BusSink
from vms.storage.volumes import Volumes


def parts(made: Fragment, seq: int, *, session: str = "s1", size: int = 1 << 20) -> list[FragmentPart]:
    """A fragment as ingest sends it: the table of frames is in the first part only."""
    data = b"".join(unit.payload for unit in made.units)
    table = tuple(FragmentUnit(len(u.payload), u.pts_90k, u.dts_90k, u.capture_us, u.flags) for u in made.units)
    count = max(1, -(-len(data) // size))
    return [
        FragmentPart(
            camera_id=CAMERA,
            session_id=session,
            fragment_seq=seq,
            part=number,
            parts=count,
            container=Container.MP4,
            parameters=PARAMS,
            units=table if number == 0 else (),
            wall_us=made.wall_us,
            duration_90k=made.duration_90k,
            flags=made.flags,
            data=data[number * size : (number + 1) * size],
        )
        for number in range(count)
    ]


class Rig:
    """A sink on one volume, that can be made anew as after a restart."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.publisher = FakePublisher()
        self.outbox = Outbox(self.publisher)
        self.sink = self.restarted()

    def restarted(self) -> BusSink:
        self.sink = BusSink(
            self.outbox,
            Volumes([VolumeSettings(name="main", path=self.root)]),
            CameraPolicies(default_days=30),
            clock=ManualClock(),
            rotation_s=3600,
            queue_max_bytes=1 << 24,
        )
        return self.sink

    async def take(self, *messages: FragmentPart, attempt: int = 1) -> None:
        for message in messages:
            await self.sink.take(delivery(message, attempt=attempt))

    def frames(self) -> list[bytes]:
        """The payload of every frame on disk, in order."""
        found = []
        for path in sorted(self.root.glob("cameras/*/*/video*")):
            with SegmentReader.open(path) as reader:
                data = path.read_bytes()
                for record in reader.records:
                    found += [data[s.offset : s.offset + s.size] for s in reader.samples(record)]
        return found

    async def announced(self) -> list[str]:
        import asyncio

        task = asyncio.create_task(self.outbox.run())
        await until(lambda: self.outbox.waiting == 0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return [decode(RecordingAnnouncement, payload).kind.value for _, payload in self.publisher.sent]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    (tmp_path / "cameras").mkdir()
    made = Rig(tmp_path)
    yield made
    await made.sink.close()


def payloads(*made: Fragment) -> list[bytes]:
    return [unit.payload for part in made for unit in part.units]


async def test_fragments_become_a_recording_and_its_announcements(rig: Rig) -> None:
    made = [fragment(number) for number in range(3)]
    for seq, item in enumerate(made):
        await rig.take(*parts(item, seq))
    assert rig.frames() == payloads(*made)
    await rig.sink.close()
    assert await rig.announced() == ["opened", "closed"]
    assert list(check(rig.root)) == []


async def test_a_restart_in_the_middle_of_a_group_of_pictures_goes_on_in_the_same_file(rig: Rig) -> None:
    made = [fragment(0), fragment(1, key=False), fragment(2, key=False)]
    await rig.take(*parts(made[0], 0))
    await rig.sink.close()
    rig.restarted()
    await rig.take(*parts(made[1], 1), *parts(made[2], 2))
    assert rig.frames() == payloads(*made)
    (path,) = rig.root.glob("cameras/*/*/video*")
    with SegmentReader.open(path) as reader:
        # For players it is one stream without a seam.
        assert [record.flags & int(FrameFlag.DISCONTINUITY) for record in reader.records] == [0, 0, 0]
        assert [record.media_start_90k for record in reader.records] == [0, 90_000, 180_000]


async def test_what_nobody_can_decode_after_a_restart_is_not_appended(rig: Rig) -> None:
    made = [fragment(0), fragment(2, key=False), fragment(3)]  # the one between was lost
    await rig.take(*parts(made[0], 0))
    await rig.sink.close()
    rig.restarted()
    await rig.take(*parts(made[1], 2), *parts(made[2], 3))
    assert rig.frames() == payloads(made[0], made[2])


async def test_a_fragment_that_the_disk_refused_is_written_when_it_comes_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [fragment(0), fragment(1, key=False), fragment(2, key=False)]
    await rig.take(*parts(made[0], 0))
    with monkeypatch.context() as patch:
        patch.setattr(segment, "write_all", _disk_full)
        with pytest.raises(VmsError) as failure:
            await rig.take(*parts(made[1], 1))
    assert failure.value.kind is ErrorKind.STORAGE
    await rig.take(*parts(made[1], 1), *parts(made[2], 2), attempt=2)
    assert rig.frames() == payloads(*made)


def _disk_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_a_large_fragment_is_joined_from_its_parts(rig: Rig) -> None:
    made = fragment(0, size=4000)
    pieces = parts(made, 0, size=30_000)
    assert len(pieces) == 4
    await rig.take(*pieces)
    assert rig.frames() == payloads(made)
    assert list((rig.root / SPOOL).iterdir()) == []


async def test_a_restart_between_two_parts_loses_nothing(rig: Rig) -> None:
    made = fragment(0, size=4000)
    pieces = parts(made, 0, size=30_000)
    await rig.take(*pieces[:2])
    await rig.sink.close()
    rig.restarted()
    await rig.take(pieces[1], attempt=2)  # written, but its acknowledgement was lost
    await rig.take(*pieces[2:])
    assert rig.frames() == payloads(made)


async def test_a_fragment_that_comes_again_is_written_once(rig: Rig) -> None:
    made = [fragment(number) for number in range(2)]
    await rig.take(*parts(made[0], 0), *parts(made[1], 1))
    await rig.take(*parts(made[1], 1), attempt=2)
    await rig.sink.close()
    rig.restarted()
    await rig.take(*parts(made[1], 1), attempt=2)
    await rig.take(*parts(fragment(2), 2))
    assert rig.frames() == payloads(*made, fragment(2))
    assert rig.sink.duplicates_total == 1


async def test_a_camera_whose_clock_stepped_back_is_still_recorded(rig: Rig) -> None:
    await rig.take(*parts(fragment(5), 0))
    back = fragment(0)
    await rig.take(*parts(back, 0, session="s2"))
    assert len(rig.frames()) == 50


async def test_time_that_did_not_come_is_a_gap(rig: Rig) -> None:
    await rig.take(*parts(fragment(0), 0))
    await rig.take(*parts(fragment(1), 1))
    await rig.take(*parts(fragment(30), 0, session="s2"))
    kinds = await rig.announced()
    assert kinds.count("gap") == 1
    gaps = [decode(RecordingAnnouncement, payload).gap for _, payload in rig.publisher.sent]
    [gap] = [gap for gap in gaps if gap is not None]
    assert (gap.start_us, gap.end_us, gap.cause) == (START_US + 2_000_000, START_US + 30_000_000, GapCause.UNKNOWN)


async def test_a_disk_that_fails_makes_the_fragment_come_again(rig: Rig) -> None:
    (rig.root / "cameras").rmdir()
    (rig.root / "cameras").write_text("in the way")
    with pytest.raises(VmsError) as caught:
        await rig.take(*parts(fragment(0), 0))
    assert caught.value.kind is ErrorKind.STORAGE
    (rig.root / "cameras").unlink()
    await rig.take(*parts(fragment(0), 0), attempt=2)
    assert len(rig.frames()) == 25


async def test_what_is_no_fragment_is_given_up(rig: Rig) -> None:
    good = parts(fragment(0), 0)[0]
    for wrong in (
        replace(good, part=1),
        replace(good, parts=0),
        replace(good, data=good.data[1:]),
        replace(good, units=()),
        replace(parts(fragment(0, size=4000), 0, size=30_000)[3]),
    ):
        with pytest.raises(VmsError) as caught:
            await rig.take(wrong)
        assert caught.value.kind is ErrorKind.PROTOCOL
    assert rig.sink.failed_total >= 3
    await rig.take(good)
    assert len(rig.frames()) == 25
