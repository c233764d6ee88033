"""Runs the recorders one after the other on the same simulated cameras and reads what each cost."""

import asyncio
import contextlib
import shutil
import socket
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vms.bench.namespace import PacedLink, paced_link
from vms.bench.procfs import Usage, usage
from vms.bench.recorded import ingest_facts, recorded_frames
from vms.bus.server import EmbeddedNats
from vms.common.camera import CameraConfig
from vms.common.errors import ErrorKind, VmsError
from vms.common.types import CameraId
from vms.ingest.desired import save_desired
from vms.media.pattern_clip import make_test_clip

FPS: Final = 25
_CLIP_SECONDS: Final = 10
_SETTLE_S: Final = 4.0
_READY_TIMEOUT_S: Final = 120.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What to measure."""

    cameras: int
    seconds: float
    bitrate_mbps: float = 4.0
    rounds: int = 1
    paced_mbit: float | None = None
    frame_writes: bool = False  # the cameras write a frame at once, which no camera does: it flatters a plain reader
    peers: bool = True
    work_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What one recorder cost: percent of one core per camera, resident MB per camera."""

    cpu_percent_per_camera: float
    rss_mb_per_camera: float


@dataclass(slots=True)
class BenchResult:
    """Everything a run found; a peer that is not installed is None."""

    settings: BenchSettings
    bitrate_mbps: float
    vms: Cost
    floor: Cost
    frames_expected: int
    frames_recorded: int
    packets_lost: int
    ffmpeg: Cost | None = None
    gstreamer: Cost | None = None
    spread: dict[str, list[float]] = field(default_factory=dict)

    @property
    def is_lossless(self) -> bool:
        """Whether every frame that was sent is on disk: a figure for less work than that says nothing."""
        return self.frames_recorded >= self.frames_expected > 0 and self.packets_lost == 0


async def run_bench(settings: BenchSettings, *, progress: Progress) -> BenchResult:
    """Measure. Raises VmsError when a recorder cannot run; lost frames are in the result (``is_lossless``)."""
    with contextlib.ExitStack() as stack:
        root = settings.work_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vms-bench")))
        link = None if settings.paced_mbit is None else stack.enter_context(paced_link(settings.paced_mbit))
        clip, bitrate_bps = await _clip(settings.bitrate_mbps, progress)
        async with _simulator(clip, settings, link) as url:
            return await _measure_all(settings, root, url, bitrate_bps / 1e6, progress)


async def _measure_all(
    settings: BenchSettings, root: Path, url: str, bitrate_mbps: float, progress: Progress
) -> BenchResult:
    ours: list[_OurRun] = []
    floors: list[Cost] = []
    for number in range(settings.rounds):
        progress(f"round {number + 1}: vms ingest, {settings.cameras} cameras, {settings.seconds:g} s")
        ours.append(await _vms(settings, root / f"vms{number}", url))
        progress(f"round {number + 1}: floor (socket to file)")
        floors.append(await _peer(settings, root / f"floor{number}", _floor_commands(url, settings.cameras)))
    result = BenchResult(
        settings=settings,
        bitrate_mbps=bitrate_mbps,
        vms=_median([run.cost for run in ours]),
        floor=_median(floors),
        frames_expected=sum(run.expected for run in ours),
        frames_recorded=sum(run.recorded for run in ours),
        packets_lost=sum(run.lost_packets for run in ours),
        spread={
            "vms": [run.cost.cpu_percent_per_camera for run in ours],
            "floor": [cost.cpu_percent_per_camera for cost in floors],
        },
    )
    if settings.peers and shutil.which("ffmpeg"):
        progress("ffmpeg -c copy, a process per camera")
        result.ffmpeg = await _peer(settings, root / "ffmpeg", _ffmpeg_commands(url, settings.cameras))
    if settings.peers and await _has_gstreamer():
        progress("GStreamer, a pipeline per camera")
        result.gstreamer = await _peer(settings, root / "gstreamer", _gstreamer_commands(url, settings.cameras))
    return result


async def _clip(bitrate_mbps: float, progress: Progress) -> tuple[Path, float]:
    """The clip that all cameras show, made once per machine and bit rate."""
    path = Path(tempfile.gettempdir()) / f"vms-bench-1080p{FPS}-{bitrate_mbps:g}M.mp4"
    if not path.exists():
        progress(f"making a clip of 1080p{FPS} at {bitrate_mbps:g} Mbit/s (once)")
        bitrate_bps = round(bitrate_mbps * 1e6)
        await asyncio.to_thread(
            make_test_clip, path, fps=FPS, seconds=_CLIP_SECONDS, bitrate_bps=bitrate_bps, gop=2 * FPS
        )
    return path, path.stat().st_size * 8 / _CLIP_SECONDS


@contextlib.asynccontextmanager
async def _simulator(clip: Path, settings: BenchSettings, link: PacedLink | None) -> AsyncIterator[str]:
    host = link.address if link is not None else "127.0.0.1"
    command = [sys.executable, "-m", "vms.cli.simulate", str(clip), "--cameras", str(settings.cameras)]
    # On a link that spaces the packets anyway, how they are written makes no difference.
    if not settings.frame_writes and link is None:
        command.append("--packet-writes")
    port = _free_port(host)
    command += ["--host", host, "--port", str(port)]
    async with _running([(*(link.prefix if link else ()), *command)]) as processes:
        await _until_port(host, port, processes[0])
        yield f"rtsp://{host}:{port}/cam{{n}}"


@dataclass(frozen=True, slots=True)
class _OurRun:
    cost: Cost
    expected: int
    recorded: int
    lost_packets: int


async def _vms(settings: BenchSettings, directory: Path, url: str) -> _OurRun:
    """Our ingest as it runs in production: own process, bus, index, announcements, status, leases."""
    (directory / "ingest").mkdir(parents=True)
    cameras = {
        CameraId(f"cam{n}"): CameraConfig(id=CameraId(f"cam{n}"), name=f"cam{n}", url=url.replace("{n}", str(n)))
        for n in range(settings.cameras)
    }
    save_desired(directory / "ingest" / "cameras.json", cameras)
    config = directory / "vms.yaml"
    http_port = _free_port("127.0.0.1")
    config.write_text(f"ingest: {{port: {http_port}}}\nlog: {{level: warning}}\n")
    command = (sys.executable, "-m", "vms.cli.service_process", "ingest", "--data-dir", str(directory))
    async with EmbeddedNats(directory, port=0), _running([(*command, "--config", str(config))]) as processes:
        pid = processes[0].pid
        await _until_online(settings.cameras, http_port, processes[0])
        await asyncio.sleep(_SETTLE_S)
        cost = await _cost([pid], settings)
        facts = await asyncio.to_thread(ingest_facts, http_port)
        if facts is None:
            raise VmsError(ErrorKind.INTERNAL, "ingest does not answer after the measurement")
        beyond_ring = usage([pid]).rss_bytes - facts.ring_bytes
    expected, recorded = await asyncio.to_thread(recorded_frames, directory, 90_000 // FPS)
    shutil.rmtree(directory, ignore_errors=True)
    cost = Cost(cost.cpu_percent_per_camera, beyond_ring / 1e6 / settings.cameras)
    return _OurRun(cost, expected, recorded, facts.lost_packets)


async def _peer(settings: BenchSettings, directory: Path, commands: Callable[[Path], list[tuple[str, ...]]]) -> Cost:
    directory.mkdir(parents=True)
    async with _running(commands(directory)) as processes:
        started = asyncio.get_running_loop().time()
        while await asyncio.to_thread(_growing_files, directory) < settings.cameras:
            if asyncio.get_running_loop().time() - started > _READY_TIMEOUT_S:
                raise VmsError(ErrorKind.TIMEOUT, f"{directory.name} does not record all cameras")
            await asyncio.sleep(0.5)
        await asyncio.sleep(_SETTLE_S)
        cost = await _cost([process.pid for process in processes], settings)
    shutil.rmtree(directory, ignore_errors=True)
    return cost


async def _cost(pids: Sequence[int], settings: BenchSettings) -> Cost:
    loop = asyncio.get_running_loop()
    before: Usage = usage(pids)
    began = loop.time()
    await asyncio.sleep(settings.seconds)
    after = usage(pids)
    cpu_s, wall_s = after.cpu_s - before.cpu_s, loop.time() - began
    return Cost(100 * cpu_s / wall_s / settings.cameras, after.rss_bytes / 1e6 / settings.cameras)


def _floor_commands(url: str, cameras: int) -> Callable[[Path], list[tuple[str, ...]]]:
    return lambda directory: [(sys.executable, "-m", "vms.bench.floor", url, str(cameras), str(directory))]


def _ffmpeg_commands(url: str, cameras: int) -> Callable[[Path], list[tuple[str, ...]]]:
    def commands(directory: Path) -> list[tuple[str, ...]]:
        head = ("ffmpeg", "-v", "error", "-nostdin", "-rtsp_transport", "tcp", "-i")
        tail = ("-c", "copy", "-f", "segment", "-segment_time", "10", "-reset_timestamps", "1")
        return [(*head, url.replace("{n}", str(n)), *tail, str(directory / f"{n}_%05d.mp4")) for n in range(cameras)]

    return commands


def _gstreamer_commands(url: str, cameras: int) -> Callable[[Path], list[tuple[str, ...]]]:
    script = Path(__file__).with_name("gstreamer_peer.py")
    return lambda directory: [("/usr/bin/python3", str(script), url, str(cameras), str(directory))]


async def _has_gstreamer() -> bool:
    code = "import gi; gi.require_version('Gst', '1.0'); from gi.repository import Gst"
    try:
        process = await asyncio.create_subprocess_exec(
            "/usr/bin/python3", "-c", code, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return False
    return await process.wait() == 0


def _growing_files(directory: Path) -> int:
    return len({path.name.split("_")[0].split(".")[0] for path in directory.iterdir() if path.stat().st_size > 0})


@contextlib.asynccontextmanager
async def _running(commands: Sequence[Sequence[str]]) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Child processes, ended by their ids when the block ends."""
    processes: list[asyncio.subprocess.Process] = []
    try:
        for command in commands:
            started = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
            )
            processes.append(started)
        yield processes
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in processes:
            try:
                await asyncio.wait_for(process.wait(), 15)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _until_online(cameras: int, http_port: int, process: asyncio.subprocess.Process) -> None:
    deadline = asyncio.get_running_loop().time() + _READY_TIMEOUT_S
    while (facts := await asyncio.to_thread(ingest_facts, http_port)) is None or facts.online < cameras:
        if process.returncode is not None:
            raise VmsError(ErrorKind.UNAVAILABLE, "ingest ended: see its message above")
        if asyncio.get_running_loop().time() > deadline:
            raise VmsError(ErrorKind.TIMEOUT, "not all cameras came online")
        await asyncio.sleep(0.5)


async def _until_port(host: str, port: int, process: asyncio.subprocess.Process) -> None:
    deadline = asyncio.get_running_loop().time() + _READY_TIMEOUT_S
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            if process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise VmsError(ErrorKind.UNAVAILABLE, f"the simulator does not serve {host}:{port}") from None
            await asyncio.sleep(0.2)
        else:
            writer.close()
            return


def _free_port(host: str) -> int:
    """A port that nobody has now; the sender's address in a namespace of its own has them all."""
    if host != "127.0.0.1":
        return 8554
    with socket.socket() as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.cpu_percent_per_camera for cost in costs),
        statistics.median(cost.rss_mb_per_camera for cost in costs),
    )
