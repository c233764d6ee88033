"""Cameras that are not ours, recorded by the whole product and played by programs that are not ours either."""

import functools
import http.server
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.browser import Browser, chromium
from tests.support.cameras import BOTTLES, CARS, PETS, GstCamera, asset, h265_clip
from tests.support.product import Product, wait_for
from tests.support.services import free_port

from vms.common.timestamps import format_us, parse_us
from vms.format.index import IndexView
from vms.format.layout import parse_media_path
from vms.format.model import IndexRecord

FULL = os.environ.get("VMS_TEST_FULL") == "1"
RECORD_S = 90 if FULL else 20
CLIP_S = 30 if FULL else 10
PLAY_S = 5 if FULL else 2
USER, PASSWORD = "admin", "p@ss:w0rd/%3F"

# Clip, frames per second, and how far a frame may be shown before the one decoded before it.
CLIPS = {"baseline": (CARS, Fraction(25, 2)), "b-frames": (BOTTLES, Fraction(179, 6)), "cctv": (PETS, Fraction(10))}

_REORDERED = 6  # pictures, more than any encoder here puts between decoding and showing


@dataclass(frozen=True)
class Recorded:
    """A camera that was recorded, and whose files are complete."""

    camera_id: str
    clip: Path
    fps: Fraction
    files: list[Path]

    def records(self) -> list[IndexRecord]:
        return [record for file in self.files for record in IndexView.load(index_of(file)).valid_prefix()]

    @property
    def frames(self) -> int:
        return sum(record.frames for record in self.records())


@dataclass(frozen=True)
class Site:
    """The product, what it recorded by name, and what it had recorded while the files were still growing."""

    product: Product
    recorded: dict[str, Recorded]
    while_open: dict[str, list[tuple[float | None, float]]]  # packets
    live: str  # a camera that records on


def index_of(media: Path) -> Path:
    place = parse_media_path(Path(*media.parts[-4:]))  # type: ignore[arg-type] # a pure path would do
    return media.parents[3] / place.index


def output_of(*command: object) -> str:
    """What a program prints on stdout; it must succeed and have nothing to say on stderr."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{command[0]}: {done.stderr[-2000:]}"
    return done.stdout


def packets(media: Path) -> list[tuple[float | None, float]]:
    """Decode and presentation time of every packet of the video, by ffprobe, in the order of the file.

    Matroska has no decode times: ffmpeg derives them, and says none of the first frames where frames are reordered.
    """
    show = ("-show_entries", "packet=dts_time,pts_time", "-of", "compact=p=0")
    lines = output_of("ffprobe", "-v", "error", "-select_streams", "v:0", *show, media).splitlines()
    rows = [dict(cell.split("=") for cell in line.split("|")) for line in lines if line]
    return [(None if row["dts_time"] == "N/A" else float(row["dts_time"]), float(row["pts_time"])) for row in rows]


def decode_times_increase(found: list[tuple[float | None, float]]) -> bool:
    """Strictly, and all but the first few of Matroska are known."""
    times = [dts for dts, _ in found if dts is not None]
    return len(times) >= len(found) - 4 and all(earlier < later for earlier, later in pairwise(times))


def shown_frames(media: Path | str) -> list[tuple[float, str]]:
    """Presentation time in seconds and MD5 of every decoded frame, in the order in which ffmpeg shows them."""
    command = ("ffmpeg", "-v", "error", "-i", media, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-")
    lines = output_of(*command).splitlines()
    base = Fraction(next(line for line in lines if line.startswith("#tb 0:")).partition(": ")[2])
    rows = [[cell.strip() for cell in line.split(",")] for line in lines if not line.startswith("#")]
    return [(float(int(row[2]) * base), row[5]) for row in rows]


@functools.cache
def source_frames(clip: Path) -> list[tuple[float, str]]:
    return shown_frames(clip)


def curl_add_camera(product: Product, url: str, **fields: str) -> str:
    """The curl of the documentation; returns the camera's id."""
    body = json.dumps({"name": "Camera 1", "url": url, "username": USER, "password": PASSWORD, **fields})
    address = f"{product.api_url.replace('127.0.0.1', 'localhost')}/api/v1/cameras"
    reply = output_of("curl", "-sS", "-X", "POST", address, "-H", "Content-Type: application/json", "-d", body)
    assert PASSWORD not in reply
    return str(json.loads(reply)["id"])


@pytest.fixture(scope="module")
def player_origin() -> Iterator[str]:
    """A site of somebody else, with a video element and nothing more."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), _PlayerPage)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def open_browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def browser(open_browser: Browser) -> Browser:
    """The same for all tests: it takes a second to start."""
    open_browser.page.goto("about:blank")
    open_browser.failures.clear()
    return open_browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, player_origin: str) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    clips = {name: (asset(file), fps) for name, (file, fps) in CLIPS.items()}
    clips["h265"] = (h265_clip(directory), Fraction(25))
    config = directory / "vms.yaml"
    config.write_text(f'storage:\n  cors_origins: ["{player_origin}"]\n')
    cameras = {
        name: GstCamera(clip, cameras=3, username=USER, password=PASSWORD, minutes=3)
        for name, (clip, _) in clips.items()
    }
    with Product(directory, "--config", config) as product, running(list(cameras.values())):
        ids = {
            f"{name}-{container}": curl_add_camera(product, camera.url(number), container=container)
            for name, camera in cameras.items()
            for number, container in enumerate(("mp4", "mkv"))
        }
        live = product.add_camera(cameras["baseline"].url(2), "Street", username=USER, password=PASSWORD)
        for name, camera_id in ids.items():
            fps = clips[name.rpartition("-")[0]][1]
            product.wait_frames(camera_id, int(RECORD_S * fps), timeout_s=RECORD_S + 60)
        while_open = {name: packets(product.media_files(camera_id)[-1]) for name, camera_id in ids.items()}
        for camera_id in ids.values():
            product.api("PATCH", f"/api/v1/cameras/{camera_id}", {"enabled": False})
        for camera_id in ids.values():
            wait_for(lambda i=camera_id: all(r["closed"] for r in product.recordings(i)), 20, "files are complete")  # type: ignore[misc]
        recorded = {
            name: Recorded(camera_id, *clips[name.rpartition("-")[0]], product.media_files(camera_id))
            for name, camera_id in ids.items()
        }
        yield Site(product, recorded, while_open, live)


@contextmanager
def running(cameras: list[GstCamera]) -> Iterator[None]:
    try:
        for camera in cameras:
            camera.start()
        yield
    finally:
        for camera in cameras:
            camera.__exit__()


NAMES = [f"{clip}-{container}" for clip in (*CLIPS, "h265") for container in ("mp4", "mkv")]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", NAMES)
def test_ffprobe_counts_the_frames_that_were_sent_with_increasing_times(site: Site, name: str) -> None:
    recorded = site.recorded[name]
    assert recorded.files
    for media in recorded.files:
        assert media.suffix == f".{name.rpartition('-')[2]}"
        assert index_of(media).exists()
    per_file = [packets(media) for media in recorded.files]
    assert sum(map(len, per_file)) == recorded.frames
    assert all(map(decode_times_increase, per_file))
    if len(per_file) == 1:  # unless an hour ended meanwhile
        shown = [pts for _, pts in per_file[0]]
        # The last pictures in decode order may be shown after some that had not come yet when the camera went.
        settled = [pts for pts in shown if pts <= max(shown) - _REORDERED / recorded.fps]
        expected = (max(settled) - min(settled)) * recorded.fps + 1
        assert abs(len(settled) - expected) <= 1
    assert recorded.frames >= int(RECORD_S * recorded.fps)
    listed = site.product.recordings(recorded.camera_id)
    assert sum(item["frames"] for item in listed) == recorded.frames


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_readable_while_it_is_being_written(site: Site, name: str) -> None:
    found = site.while_open[name]
    assert len(found) >= (RECORD_S - 4) * site.recorded[name].fps
    assert decode_times_increase(found)


@pytest.mark.parametrize("name", NAMES)
def test_every_frame_is_shown_as_and_when_the_source_shows_it(site: Site, name: str) -> None:
    recorded = site.recorded[name]
    source = source_frames(recorded.clip)
    shown = [frame for media in recorded.files for frame in shown_frames(media)]
    # The end lies in the middle of a group of B-frames: the last frames may refer to ones that were not sent any more.
    shown = shown[:-_REORDERED]
    looped = [source[(n) % len(source)] for n in range(len(source) + len(shown))]
    hashes = [md5 for _, md5 in shown]
    begin = next((n for n in range(len(source)) if [md5 for _, md5 in looped[n : n + len(hashes)]] == hashes), None)
    assert begin is not None, "these frames are not a part of the source"
    wrong = [
        number
        for number in range(1, len(shown))
        if (begin + number) % len(source)  # between two rounds of the loop the interval is the muxer's choice
        and abs(shown[number][0] - shown[number - 1][0] - looped[begin + number][0] + looped[begin + number - 1][0])
        > 0.003
    ]
    assert wrong == []


def test_the_clip_with_b_frames_decodes_out_of_order(site: Site) -> None:
    # Otherwise the tests above would prove nothing about composition times.
    shown = [pts for _, pts in packets(site.recorded["b-frames-mp4"].files[0])]
    assert shown != sorted(shown)


def middle_span(recorded: Recorded, seconds: float) -> tuple[int, int]:
    """A span that begins between two keyframes."""
    records = recorded.records()
    begin = records[0].wall_start_us + 2_600_000
    return begin, begin + int(seconds * 1e6)


@pytest.mark.parametrize(
    "name", ["baseline-mp4", "baseline-mkv", "b-frames-mp4", "b-frames-mkv", "h265-mp4", "h265-mkv"]
)
def test_a_clip_starts_at_the_keyframe_before_its_start_and_decodes_without_a_word(
    site: Site, name: str, tmp_path: Path
) -> None:
    recorded = site.recorded[name]
    start_us, end_us = middle_span(recorded, CLIP_S)
    reply = site.product.get(
        f"{site.product.storage_url}/recordings/{recorded.camera_id}/clip.mp4",
        start=format_us(start_us),
        end=format_us(end_us),
    )
    assert reply.status_code == 200
    target = tmp_path / "clip.mp4"
    target.write_bytes(reply.content)
    assert output_of("ffmpeg", "-v", "error", "-i", target, "-f", "null", "-") == ""

    keyframe = max(r.wall_start_us for r in recorded.records() if r.flags & 1 and r.wall_start_us <= start_us)
    show = ("-show_entries", "packet=flags", "-of", "csv=p=0", "-read_intervals", "%+#1")
    assert output_of("ffprobe", "-v", "error", "-select_streams", "v:0", *show, target).startswith("K")
    # Frames that the last one refers to are in it, though they are shown after the end.
    wanted = (end_us - keyframe) / 1e6 * recorded.fps
    assert wanted - 1 <= len(packets(target)) <= wanted + 5
    if len(recorded.files) > 1:
        return  # an hour ended meanwhile; the frames of both files are compared elsewhere
    whole = packets(recorded.files[0])
    before = sum(r.frames for r in recorded.records() if r.wall_start_us < keyframe)
    begin = sum(pts < whole[before][1] for _, pts in whole)
    shown = [md5 for _, md5 in shown_frames(target)][:-6]
    assert shown == [md5 for _, md5 in shown_frames(recorded.files[0])][begin : begin + len(shown)]


@pytest.mark.parametrize("name", ["baseline-mp4", "b-frames-mkv", "h265-mp4", "h265-mkv"])
def test_ffmpeg_plays_the_playlist_of_a_span(site: Site, name: str) -> None:
    recorded = site.recorded[name]
    start_us, end_us = middle_span(recorded, CLIP_S)
    query = f"start={format_us(start_us)}&end={format_us(end_us)}"
    url = f"{site.product.storage_url}/recordings/{recorded.camera_id}/playlist.m3u8?{query}"
    shown = shown_frames(url)
    assert len(shown) >= CLIP_S * recorded.fps
    assert {md5 for _, md5 in shown} <= {md5 for _, md5 in source_frames(recorded.clip)}


# A player without any library: the segments of the playlist into Media Source Extensions, one after the other.
MSE_PLAYER = """async ([playlist, codec]) => {
  const video = document.querySelector("video");
  const lines = (await (await fetch(playlist)).text()).split("\\n");
  const media = new MediaSource();
  video.src = URL.createObjectURL(media);
  await new Promise((done) => media.addEventListener("sourceopen", done, { once: true }));
  const buffer = media.addSourceBuffer(`video/mp4; codecs="${codec}"`);
  const fetchPart = async (uri, range) => {
    const [size, offset] = (range ?? "").split("@").map(Number);
    const headers = range ? { Range: `bytes=${offset}-${offset + size - 1}` } : {};
    const reply = await fetch(new URL(uri, playlist), { headers });
    if (!reply.ok) throw new Error(`${uri}: ${reply.status}`);
    buffer.appendBuffer(await reply.arrayBuffer());
    await new Promise((done, failed) => {
      buffer.addEventListener("updateend", done, { once: true });
      buffer.addEventListener("error", () => failed(new Error(`${uri} is refused`)), { once: true });
    });
  };
  let range;
  for (const line of lines) {
    const map = line.match(/^#EXT-X-MAP:URI="([^"]+)"(?:,BYTERANGE="([^"]+)")?/);
    if (map) await fetchPart(map[1], map[2]);
    else if (line.startsWith("#EXT-X-BYTERANGE:")) range = line.slice(17);
    else if (line && !line.startsWith("#")) { await fetchPart(line, range); range = undefined; }
  }
  media.endOfStream();
  video.currentTime = buffer.buffered.start(0);
  await video.play();
}"""

NATIVE_PLAYER = """async ([playlist]) => {
  const video = document.querySelector("video");
  video.src = playlist;
  await video.play();
}"""


class _PlayerPage(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b'<!doctype html><link rel=icon href=data:,><video muted crossorigin="anonymous"></video>')

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("player", ["native", "mse"])
@pytest.mark.parametrize(
    ("name", "width"), [("baseline-mp4", 768), ("baseline-mkv", 768), ("b-frames-mp4", 640), ("b-frames-mkv", 640)]
)
def test_chromium_plays_the_playlist_of_a_span_on_another_site_that_is_allowed(
    site: Site, browser: Browser, player_origin: str, name: str, width: int, player: str
) -> None:
    recorded = site.recorded[name]
    start_us, end_us = middle_span(recorded, CLIP_S)
    query = f"start={format_us(start_us)}&end={format_us(end_us)}"
    url = f"{site.product.storage_url}/recordings/{recorded.camera_id}/playlist.m3u8?{query}"
    codec = site.product.recordings(recorded.camera_id)[0]["codec_string"]
    browser.page.goto(player_origin)
    if player == "native" and not browser.page.evaluate(
        "() => document.querySelector('video').canPlayType('application/vnd.apple.mpegurl')"
    ):
        pytest.skip("this Chromium says that it plays no HLS by itself")
    browser.page.evaluate(NATIVE_PLAYER if player == "native" else MSE_PLAYER, [url, codec])
    state = browser.plays_until(PLAY_S)
    assert state["width"] == width
    assert CLIP_S - 0.5 <= state["duration"] <= CLIP_S + 10
    assert state["frames"] > (PLAY_S - 1) * recorded.fps
    assert browser.failures == []


def test_the_page_plays_the_last_minutes_of_a_camera_that_records(site: Site, browser: Browser) -> None:
    product = site.product
    begin_us = parse_us(product.recordings(site.live)[0]["start"])
    page = browser.page
    page.goto(product.api_url.replace("127.0.0.1", "localhost"))
    page.locator(".camera", has_text="Street").locator(".state", has_text="online").wait_for()
    page.get_by_role("button", name="Play Street").click()
    state = browser.plays_until(1.5)
    assert (state["width"], state["height"]) == (768, 432)
    # Everything up to a moment ago: what is being written now is played now.
    recorded_s = time.time() - begin_us / 1e6
    assert recorded_s - 8 < state["duration"] < recorded_s + 1
    assert re.fullmatch(r"\d+ seconds from \d.+", page.locator("#player-message").inner_text())
    assert browser.failures == []
