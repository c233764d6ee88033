from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.support.recordings import CAMERA, PARAMS, START_US, fragment
from tests.support.storage import storage_app

from vms.common.errors import ErrorKind, VmsError
from vms.format.clip import Clip, build_clip
from vms.format.clip import Span as ClipSpan
from vms.storage import playback
from vms.storage.segments import Span

SPAN = Span(START_US, START_US + 10_000_000)


async def test_a_clip_is_built_once_for_all_the_ranges_that_a_player_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Clip] = []

    def build(spans: Sequence[ClipSpan], *, start_us: int, end_us: int) -> Clip:
        built.append(build_clip(spans, start_us=start_us, end_us=end_us))
        return built[-1]

    monkeypatch.setattr(playback, "build_clip", build)
    async with storage_app(tmp_path) as app:
        writer = await app.record([fragment(0)], close=False)
        first = await app.storage.playback.clip(CAMERA, SPAN)
        again = await app.storage.playback.clip(CAMERA, SPAN)
        assert (len(built), first.etag) == (1, again.etag)
        await app.announce(writer.write(PARAMS, fragment(1), 0.0))
        longer = await app.storage.playback.clip(CAMERA, SPAN)
        assert len(built) == 2
        assert longer.size > first.size
        writer.close()


async def test_a_span_is_whole_whichever_pieces_of_it_are_read(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        await app.record([fragment(number, size=900) for number in range(3)])
        found = await app.storage.playback.clip(CAMERA, SPAN)
        whole = b"".join([chunk async for chunk in found.read(0, found.size)])
        assert len(whole) == found.size
        for start, end in ((0, 1), (found.size - 1, found.size), (700, 5000), (1, found.size - 1)):
            assert b"".join([chunk async for chunk in found.read(start, end)]) == whole[start:end]


async def test_nothing_recorded_is_not_found(tmp_path: Path) -> None:
    async with storage_app(tmp_path) as app:
        for ask in (app.storage.playback.playlist(CAMERA, SPAN), app.storage.playback.clip(CAMERA, SPAN)):
            with pytest.raises(VmsError) as caught:
                await ask
            assert caught.value.kind is ErrorKind.NOT_FOUND
