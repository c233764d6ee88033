"""What serving a camera costs: the simulator under N viewers that do nothing but receive.

    python benchmarks/rtsp_serve.py [--cameras 100] [--seconds 10] [--file CLIP | --pattern] [--peer COMMAND] [--json -]

The viewers are this process, on plain sockets; the server is a child process whose CPU time is read from /proc. Fails
when a viewer misses a frame or a packet. ``--peer`` measures another server in the same run and way: a command with
{file}, {port} and {cameras} in it that serves rtsp://127.0.0.1:{port}/cam0 … and prints "ready".
"""

import argparse
import json
import os
import selectors
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TypeAlias

import uvloop

from vms.media.pattern_clip import make_test_clip
from vms.media.rtsp.server import RtspServer
from vms.media.simulate import SimulatorSettings, run_simulator

Figures: TypeAlias = dict[str, float]


class Viewer:
    """A socket that asks for one camera and then counts packets and frames."""

    def __init__(self, port: int, number: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._rest = b""
        self._sequence: int | None = None
        self.frames = self.packets = self.lost = self.received = 0
        uri = f"rtsp://127.0.0.1:{port}/cam{number}"
        description = self._request(f"DESCRIBE {uri} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n")
        control = [line for line in description.splitlines() if line.startswith("a=control:")][-1][10:].strip()
        track = control if control.startswith("rtsp:") else f"{uri}/{control}"
        transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
        reply = self._request(f"SETUP {track} RTSP/1.0\r\nCSeq: 2\r\n{transport}\r\n\r\n")
        session = next(line for line in reply.splitlines() if line.lower().startswith("session:"))[8:].split(";")[0]
        self.socket.sendall(f"PLAY {uri} RTSP/1.0\r\nCSeq: 3\r\nSession: {session.strip()}\r\n\r\n".encode())
        self._head()
        self.socket.setblocking(False)

    def _request(self, text: str) -> str:
        self.socket.sendall(text.encode())
        head = self._head()
        length = 0
        for line in head.splitlines():
            if line.lower().startswith("content-length:"):
                length = int(line.split(":")[1])
        body = b""
        while len(body) < length:
            body += self.socket.recv(length - len(body))
        return head + body.decode()

    def _head(self) -> str:
        head = b""
        while not head.endswith(b"\r\n\r\n"):  # byte by byte: what follows is media
            byte = self.socket.recv(1)
            if not byte:
                raise SystemExit(f"the server hung up: {head!r}")
            head += byte
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise SystemExit(f"the server refused: {head!r}")
        return head.decode()

    def receive(self) -> None:
        """Count what has arrived."""
        data = self._rest + self.socket.recv(1 << 20)
        self.received += len(data) - len(self._rest)
        position, end = 0, len(data)
        while end - position >= 16:
            following = position + 4 + (data[position + 2] << 8 | data[position + 3])
            if following > end:
                break
            if data[position] != 0x24:
                raise SystemExit("the stream is out of step")
            if data[position + 1] == 0:
                sequence = data[position + 6] << 8 | data[position + 7]
                self.lost += self._sequence is not None and sequence != (self._sequence + 1) & 0xFFFF
                self._sequence = sequence
                self.packets += 1
                self.frames += data[position + 5] >> 7
            position = following
        self._rest = data[position:]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(command: list[str], port: int, cameras: int, seconds: float) -> Figures:
    """Start a server, watch all its cameras, and tell what it used meanwhile."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            if "ready" not in server.stdout.readline():
                raise SystemExit(f"the server did not start: {shlex.join(command)}")
            viewers = [Viewer(port, number) for number in range(cameras)]
            with selectors.DefaultSelector() as selector:
                for viewer in viewers:
                    selector.register(viewer.socket, selectors.EVENT_READ, viewer)
                _settle(selector, viewers)
                before = [(v.frames, v.received) for v in viewers]
                cpu, started = cpu_seconds(server.pid), time.monotonic()
                _pump(selector, seconds)
                elapsed = time.monotonic() - started
                cpu = cpu_seconds(server.pid) - cpu
            for viewer in viewers:
                viewer.socket.close()
            frames = [v.frames - b[0] for v, b in zip(viewers, before, strict=True)]
            received = sum(v.received - b[1] for v, b in zip(viewers, before, strict=True))
            return {
                "cpu_percent_per_camera": 100 * cpu / elapsed / cameras,
                "cpu_percent_total": 100 * cpu / elapsed,
                "mbps_per_camera": received * 8 / elapsed / cameras / 1e6,
                "fps_min": min(frames) / elapsed,
                "fps_max": max(frames) / elapsed,
                "lost_packets": sum(v.lost for v in viewers),
                "rss_mb": rss_mb(server.pid),
            }
        finally:
            server.terminate()


def _settle(selector: selectors.BaseSelector, viewers: list[Viewer]) -> None:
    """Each viewer begins with a cached GOP at once: wait until all have taken theirs, and slow servers have started."""
    for _ in range(20):
        before = [viewer.frames for viewer in viewers]
        _pump(selector, 1.0)
        steps = [viewer.frames - count for viewer, count in zip(viewers, before, strict=True)]
        if min(steps) and max(steps) - min(steps) <= 2:
            return


def _pump(selector: selectors.BaseSelector, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            key.data.receive()
        time.sleep(0.005)  # take bursts, not packets: the viewers share the machine with what is measured


def serve(arguments: argparse.Namespace) -> None:
    """The child process: our server."""

    def ready(server: RtspServer) -> None:
        print("ready", server.port, flush=True)

    file = None if arguments.pattern else Path(arguments.file)
    settings = SimulatorSettings(file=file, cameras=arguments.cameras, port=arguments.port)
    uvloop.run(run_simulator(settings, ready=ready))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--file", help="an H.264 or H.265 file; default: a generated 1080p25 clip of 4 Mbit/s")
    parser.add_argument("--pattern", action="store_true", help="serve the generated scene instead of a file")
    parser.add_argument("--peer", help="command of another server")
    parser.add_argument("--port", type=int, default=18_570)
    parser.add_argument("--json", metavar="FILE", help="'-' for standard output")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.file or f"{folder}/clip.mp4"
        if not arguments.file and not arguments.pattern:
            make_test_clip(Path(file))
        print(
            json.dumps(run(arguments, file), indent=2)
            if arguments.json == "-"
            else report(run(arguments, file), arguments)
        )


def run(arguments: argparse.Namespace, file: str) -> dict[str, Any]:
    """Our server and the peer, one after the other."""
    cameras, port = arguments.cameras, arguments.port
    options = [
        "--cameras",
        str(cameras),
        "--port",
        str(port),
        *(["--pattern"] if arguments.pattern else ["--file", file]),
    ]
    results: dict[str, Any] = {"cameras": cameras, "seconds": arguments.seconds}
    results["vms"] = measure([sys.executable, __file__, "--serve", *options], port, cameras, arguments.seconds)
    if arguments.peer:
        command = shlex.split(arguments.peer.format(file=file, port=port + 1, cameras=cameras))
        results["peer"] = measure(command, port + 1, cameras, arguments.seconds)
        ours, theirs = results["vms"]["cpu_percent_per_camera"], results["peer"]["cpu_percent_per_camera"]
        results["vms_to_peer"] = ours / theirs
    if results["vms"]["lost_packets"]:
        raise SystemExit(f"{results['vms']['lost_packets']:.0f} packets were lost")
    if results["vms"]["fps_max"] - results["vms"]["fps_min"] > 0.5 + 2 / arguments.seconds:
        raise SystemExit(f"not every viewer was sent every frame: {results['vms']}")
    return results


def report(results: dict[str, Any], arguments: argparse.Namespace) -> str:
    """A table, and the JSON file where one was asked for."""
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=2) + "\n")
    lines = [f"{'':8}{'% core/camera':>14}{'% core':>9}{'Mbit/s':>9}{'fps':>14}{'lost':>7}{'RSS MB':>9}"]
    for name in ("vms", "peer"):
        if name in results:
            row = results[name]
            fps = f"{row['fps_min']:.1f}–{row['fps_max']:.1f}"
            lines.append(
                f"{name:8}{row['cpu_percent_per_camera']:14.3f}{row['cpu_percent_total']:9.1f}"
                f"{row['mbps_per_camera']:9.2f}{fps:>14}{row['lost_packets']:7.0f}{row['rss_mb']:9.0f}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
