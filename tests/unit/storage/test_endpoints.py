import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.support.recordings import CAMERA, PARAMS, START_US, assert_decodes_silently, encoded, fragment, split
from tests.support.storage import StorageApp, storage_app

from vms.common.errors import VmsError
from vms.common.stream import Container, VideoCodec
from vms.common.timestamps import format_us
from vms.common.types import CameraId
from vms.format.recording import RecordingWriter
from vms.proto.messages import Gap, GapCause
from vms.storage.segments import segment_id
from vms.web.streaming import Representation

SECOND_US = 1_000_000
BASE = f"/recordings/{CAMERA}"


def span(start_s: float, end_s: float) -> dict[str, str]:
    return {
        "start": format_us(START_US + round(start_s * SECOND_US)),
        "end": format_us(START_US + round(end_s * SECOND_US)),
    }


def uris(playlist: str) -> list[str]:
    return [line for line in playlist.splitlines() if line and not line.startswith("#")]


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[StorageApp]:
    async with storage_app(tmp_path) as made:
        yield made


async def fetched(app: StorageApp, playlist: str) -> bytes:
    """What a player reads: every map and every segment, by their byte ranges."""
    data = b""
    byte_range = None
    for line in playlist.splitlines():
        found = re.match(r'#EXT-X-MAP:URI="([^"]+)"(?:,BYTERANGE="(\d+)@(\d+)")?', line)
        if found:
            data += await _get(app, found[1], (int(found[2]), int(found[3])) if found[2] else None)
        elif line.startswith("#EXT-X-BYTERANGE:"):
            size, offset = line.split(":")[1].split("@")
            byte_range = (int(size), int(offset))
        elif line and not line.startswith("#"):
            data += await _get(app, line, byte_range)
    return data


async def _get(app: StorageApp, uri: str, byte_range: tuple[int, int] | None) -> bytes:
    headers = {}
    if byte_range:
        size, offset = byte_range
        headers["Range"] = f"bytes={offset}-{offset + size - 1}"
    reply = await app.client.get(f"{BASE}/{uri}", headers=headers)
    assert reply.status_code == (206 if byte_range else 200)
    return reply.content


async def frames_of(path: Path) -> int:
    command = ["ffprobe", "-v", "error", "-count_packets", "-select_streams", "v"]
    command += ["-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", str(path)]
    done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return int(done.stdout.split()[0].strip(","))


@pytest.mark.parametrize("container", list(Container))
async def test_what_a_playlist_names_is_the_recording_from_the_keyframe_before_the_start(
    app: StorageApp, container: Container, tmp_path: Path
) -> None:
    stream = encoded(VideoCodec.H264, frames=250)
    await app.record(split(stream.units), container, params=stream.params)
    reply = await app.client.get(f"{BASE}/playlist.m3u8", params=span(1.5, 8.5))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/vnd.apple.mpegurl"
    path = tmp_path / "played.mp4"
    path.write_bytes(await fetched(app, reply.text))
    assert await frames_of(path) == 200  # seconds 1 to 8, whole fragments
    await asyncio.to_thread(assert_decodes_silently, path)


async def test_the_open_hour_is_played_to_its_last_fragment_though_its_row_is_older(app: StorageApp) -> None:
    writer = await app.record([fragment(0)], close=False)
    for number in range(1, 9):
        writer.write(PARAMS, fragment(number), 0.0)
    reply = await app.client.get(f"{BASE}/playlist.m3u8", params=span(0, 60))
    assert [float(value) for value in re.findall(r"EXTINF:([\d.]+)", reply.text)] == [4.0, 4.0, 1.0]
    assert len(await fetched(app, reply.text)) > 0
    writer.close()


async def test_files_and_gaps_are_separated_by_discontinuities(app: StorageApp) -> None:
    await app.record([fragment(number) for number in range(4)])
    await app.record([fragment(number) for number in range(3600, 3604)])
    text = (await app.client.get(f"{BASE}/playlist.m3u8", params=span(0, 3700))).text
    assert len(set(uris(text))) == 2
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1


@pytest.mark.parametrize("path", ["playlist.m3u8", "clip.mp4"])
async def test_a_span_without_a_frame_is_not_found_and_a_wrong_one_is_refused(app: StorageApp, path: str) -> None:
    await app.record([fragment(0)])
    wrong: list[tuple[dict[str, str], int]] = [
        (span(100, 200), 404),
        (span(-200, -100), 404),
        (span(5, 5), 422),
        (span(5, 4), 422),
        (span(0, 90_000), 422),
        ({"start": "yesterday", "end": "2026-03-01T10:00:00Z"}, 422),
        ({"start": "2026-03-01T10:00:00Z"}, 422),
    ]
    for params, status in wrong:
        reply = await app.client.get(f"{BASE}/{path}", params=params)
        assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json"), params
    assert (await app.client.get(f"/recordings/nobody/{path}", params=span(0, 5))).status_code == 404


async def test_a_file_that_vanished_is_left_out_of_a_playlist(app: StorageApp) -> None:
    await app.record([fragment(0)])
    await app.record([fragment(3600)])
    next(app.root.glob("cameras/*/*/video_10.mp4")).unlink()
    reply = await app.client.get(f"{BASE}/playlist.m3u8", params=span(0, 3700))
    assert len(uris(reply.text)) == 1
    assert (await app.client.get(f"{BASE}/playlist.m3u8", params=span(0, 100))).status_code == 404


async def media_url(app: StorageApp) -> str:
    reply = await app.client.get(BASE, params=span(0, 60))
    return str(reply.json()["recordings"][0]["media_url"])


async def test_a_media_file_is_served_whole_by_range_and_by_head(app: StorageApp) -> None:
    await app.record([fragment(number, size=4000) for number in range(4)])
    data = next(app.root.glob("cameras/*/*/video*")).read_bytes()
    url = await media_url(app)
    whole = await app.client.get(url)
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, data, "video/mp4")
    assert whole.headers["accept-ranges"] == "bytes"
    head = await app.client.head(url)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(data)))
    for header, start, end in (("0-9", 0, 10), ("390000-", 390_000, len(data)), ("-7", len(data) - 7, len(data))):
        part = await app.client.get(url, headers={"Range": f"bytes={header}"})
        assert (part.status_code, part.content) == (206, data[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{len(data)}"
    reply = await app.client.get(url, headers={"Range": f"bytes={len(data)}-"})
    assert (reply.status_code, reply.headers["content-range"]) == (416, f"bytes */{len(data)}")


async def test_a_range_of_a_file_that_has_changed_is_answered_with_all_of_it(app: StorageApp) -> None:
    await app.record([fragment(0)])
    url = await media_url(app)
    etag = (await app.client.head(url)).headers["etag"]
    headers = {"Range": "bytes=0-9", "If-Range": etag}
    assert (await app.client.get(url, headers=headers)).status_code == 206
    assert (await app.client.get(url, headers={"If-None-Match": etag})).status_code == 304
    await app.record([fragment(1)])  # the recorder goes on in the same file
    reply = await app.client.get(url, headers=headers)
    assert reply.status_code == 200
    assert reply.headers["etag"] != etag


async def test_of_a_file_that_grows_only_whole_fragments_are_served(app: StorageApp) -> None:
    writer = await app.record([fragment(0), fragment(1)], close=False)
    path = next(app.root.glob("cameras/*/*/video*"))
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"half a fragment")
    reply = await app.client.get(await media_url(app))
    assert (reply.status_code, len(reply.content)) == (200, whole)
    assert reply.headers["cache-control"] == "no-cache"
    assert writer._segment is not None
    writer._segment.abandon()


async def test_media_of_another_camera_container_or_name_is_not_found(app: StorageApp) -> None:
    await app.record([fragment(0)])
    url = await media_url(app)
    recording = url.rsplit("/", 1)[1]
    for wrong in (
        url.replace(CAMERA, "cam_other"),
        url.replace(".mp4", ".mkv"),
        url.replace(".mp4", ".txt"),
        url.replace("rec_", "rec_x"),
        f"{BASE}/media/{recording[:-4]}/5-1.m4s",
        f"{BASE}/media/{recording[:-4]}/a-1.m4s",
    ):
        assert (await app.client.get(wrong)).status_code == 404, wrong
    for numbers in ("0-0", "0-121"):
        assert (await app.client.get(f"{BASE}/media/{recording[:-4]}/{numbers}.m4s")).status_code == 422


async def test_a_clip_starts_at_the_keyframe_plays_silently_and_has_a_name(app: StorageApp, tmp_path: Path) -> None:
    stream = encoded(VideoCodec.H264, frames=250)
    await app.record(split(stream.units), params=stream.params)
    url = f"{BASE}/clip.mp4"
    reply = await app.client.get(url, params=span(2.5, 6))
    assert reply.status_code == 200
    assert reply.headers["content-disposition"].startswith(f'attachment; filename="{CAMERA}_2026-03-01T10-00-02Z.mp4"')
    assert int(reply.headers["content-length"]) == len(reply.content)
    path = tmp_path / "clip.mp4"
    path.write_bytes(reply.content)
    await asyncio.to_thread(assert_decodes_silently, path)
    assert 98 <= await frames_of(path) <= 102  # seconds 2 to 6
    pieces = b""
    for start in range(0, len(reply.content), 10_007):
        part = await app.client.get(url, params=span(2.5, 6), headers={"Range": f"bytes={start}-{start + 10_006}"})
        assert part.status_code == 206
        pieces += part.content
    assert pieces == reply.content


async def test_a_span_is_listed_with_what_was_appended_meanwhile_and_its_gaps(app: StorageApp) -> None:
    writer = await app.record([fragment(0)], close=False)
    writer.write(PARAMS, fragment(1), 0.0)
    await app.storage.repository.put_gap(
        Gap(CAMERA, START_US - SECOND_US, START_US, GapCause.CAMERA_OFFLINE, "no route")
    )
    listed = (await app.client.get(BASE, params=span(-60, 60))).json()
    [recording] = listed["recordings"]
    assert (recording["end"], recording["frames"], recording["closed"]) == (format_us(START_US + 2_000_000), 50, False)
    assert [gap["cause"] for gap in listed["gaps"]] == ["camera_offline"]
    assert (await app.client.get(BASE, params=span(30, 60))).json() == {"recordings": [], "gaps": []}
    writer.close()


async def test_the_apis_page_may_read_and_nobody_else(app: StorageApp) -> None:
    async def allowed(origin: str) -> str | None:
        reply = await app.client.get("/health", headers={"Origin": origin})
        value: str | None = reply.headers.get("access-control-allow-origin")
        return value

    for origin in ("http://localhost:9095", "http://127.0.0.1:9095", "http://[::1]:9095"):
        assert await allowed(origin) == origin
    for origin in ("http://localhost:3000", "http://evil.example:9095", "http://localhost.evil.example:9095"):
        assert await allowed(origin) is None
    reply = await app.client.get("/health", headers={"Host": "evil.example"})
    assert reply.status_code == 403


async def test_health_names_a_volume_that_is_missing(app: StorageApp) -> None:
    assert (await app.client.get("/health")).json()["status"] == "ok"
    app.root.rename(app.root.with_name("unplugged"))
    reply = await app.client.get("/health")
    assert (reply.status_code, reply.json()["status"]) == (503, "failed")
    assert "is not there" in reply.json()["checks"]["volume main"]


async def test_metrics_show_recordings_and_free_space(app: StorageApp) -> None:
    await app.record([fragment(0)])
    text = (await app.client.get("/metrics")).text
    assert 'vms_storage_recordings{volume="main"} 1.0' in text
    assert re.search(r'vms_storage_free_bytes\{volume="main"\} [1-9]', text)
    assert 'vms_storage_deletions_total{reason="age"} 0.0' in text


async def read_into(received: bytearray, found: Representation) -> None:
    async for chunk in found.read(0, found.size):
        received += chunk


async def test_a_file_that_breaks_off_ends_the_reply_instead_of_padding_it(app: StorageApp) -> None:
    await app.record([fragment(number, size=4000) for number in range(8)])
    path = next(app.root.glob("cameras/*/*/video*"))
    row = await app.storage.repository.find(CAMERA, segment_id("main", str(path.relative_to(app.root))))
    assert row is not None
    found = await app.storage.playback.media(CAMERA, row.id, Container.MP4)
    with path.open("r+b") as file:
        file.truncate(1000)
    received = bytearray()
    with pytest.raises(VmsError, match="ends before byte"):
        await read_into(received, found)
    assert len(received) == 1000


async def test_recordings_of_two_cameras_do_not_mix(app: StorageApp) -> None:
    other = CameraId("cam_other")
    await app.record([fragment(0)])
    await app.record([fragment(0), fragment(1)], camera_id=other)
    reply: httpx.Response = await app.client.get(f"/recordings/{other}", params=span(0, 60))
    assert [recording["frames"] for recording in reply.json()["recordings"]] == [50]
    writer = RecordingWriter(app.root, other, container=Container.MP4)
    assert writer.close() == []
