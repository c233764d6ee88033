from pathlib import Path

import pytest
from tests.support.recordings import CAMERA, PARAMS, START_US, fragment
from tests.support.storage import HOUR_US, StorageApp, storage_app

from vms.bus.subscription import BusMessage
from vms.common.errors import ErrorKind, VmsError
from vms.proto.convert import decode, encode
from vms.proto.messages import GetRecordingRequest, ListRecordingsReply, ListRecordingsRequest, Recording
from vms.storage.commands import RecordingCommands


def commands(app: StorageApp) -> RecordingCommands:
    return RecordingCommands(app.storage.repository, app.storage.playback)


async def listed(app: StorageApp, **request: object) -> ListRecordingsReply:
    query = ListRecordingsRequest(CAMERA, **request)  # type: ignore[arg-type] # a table of fields
    return decode(ListRecordingsReply, await commands(app).list(BusMessage("x", encode(query))))


async def test_pages_come_in_order_and_the_last_one_says_so(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        for hour in range(5):
            await app.record([fragment(hour * 3600)])
        seen: list[int] = []
        cursor = ""
        for _ in range(3):
            page = await listed(app, limit=2, cursor=cursor)
            seen += [recording.start_us for recording in page.recordings]
            cursor = page.next_cursor
        assert seen == [START_US + hour * HOUR_US for hour in range(5)]
        assert cursor == ""


async def test_an_open_file_is_listed_as_it_is_now_and_only_where_it_reaches(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        writer = await app.record([fragment(0)], close=False)
        writer.write(PARAMS, fragment(1), 0.0)
        [recording] = (await listed(app, start_us=START_US + 1_500_000)).recordings
        assert (recording.end_us, recording.frames, recording.closed) == (START_US + 2_000_000, 50, False)
        assert (await listed(app, start_us=START_US + 2_000_000)).recordings == ()
        writer.close()


async def test_one_recording_is_found_by_its_id_and_camera(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        await app.record([fragment(0)])
        [recording] = (await listed(app)).recordings
        query = GetRecordingRequest(CAMERA, recording.id)
        assert decode(Recording, await commands(app).get(BusMessage("x", encode(query)))) == recording
        with pytest.raises(VmsError) as caught:
            await commands(app).get(BusMessage("x", encode(GetRecordingRequest(CAMERA, "rec_none"))))
        assert caught.value.kind is ErrorKind.NOT_FOUND


async def test_a_cursor_that_is_none_is_refused(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        with pytest.raises(VmsError) as caught:
            await listed(app, cursor="nonsense")
        assert caught.value.kind is ErrorKind.INVALID
