"""Receive loop: interleaved RTP packets to access units, against a bare loop that does the least that could work.

    python benchmarks/rtp_receive.py [--seconds 120] [--json]

Both are fed the same bytes of a 1080p25, 4 Mbit/s stream: in bursts of one frame, as they arrive on a tick, and in
pieces of 4 to 16 KB, as a slow link does. Both keep
the last 200 frames, as the ring does. Every frame of a further run is compared with what went in. The bare
loop reads sequence number, marker and payload header of plain packets, joins what it finds behind start codes and knows
nothing of bounds, losses, other headers, RTSP messages, keyframes, parameter sets, media or capture time.
"""

import argparse
import json
import random
import sys
import time
from collections import deque
from collections.abc import Callable, MutableSequence

from vms.common.stream import AccessUnit, VideoCodec
from vms.media.nal import join_lengths
from vms.media.rtp.packetize import packetize_interleaved
from vms.media.rtp.payload import make_receiver
from vms.media.rtp.units import UnitBuilder

FPS = 25
GOP = 50
RING_FRAMES = 200
BITRATE = 4_000_000
REPEATS = 31
# 1920x1080 at 25 frames a second, High profile, no reordering
SPS = bytes.fromhex("6764001fac2ca501e0089f961000000300100000030328f162ea")
PPS = bytes.fromhex("68ee3c80")


def make_frames(count: int) -> list[list[bytes]]:
    """NAL units of ``count`` frames: keyframes six times the size of the others, which come in one slice."""
    source = random.Random(1)  # noqa: S311 - test material
    frame_bytes = BITRATE / 8 / FPS
    other_bytes = int(frame_bytes * GOP / (GOP + 5))
    frames = []
    for n in range(count):
        if n % GOP == 0:
            frames.append([SPS, PPS, b"\x65\x88" + source.randbytes(other_bytes * 6)])
        else:
            size = int(other_bytes * source.uniform(0.6, 1.4))
            frames.append([b"\x41\x9a" + source.randbytes(size)])
    return frames


def make_bursts(frames: list[list[bytes]]) -> list[bytes]:
    """The interleaved packets of every frame."""
    bursts, sequence = [], 0
    for n, nals in enumerate(frames):
        blob, packets = packetize_interleaved(
            join_lengths(nals), codec=VideoCodec.H264, sequence=sequence, timestamp=n * 3600, ssrc=0x1234
        )
        sequence += packets
        bursts.append(blob)
    return bursts


class BareLoop:
    """The least work that yields frames."""

    def __init__(self, frames: MutableSequence[bytes]) -> None:
        self.buffer = bytearray(262144)
        self.view = memoryview(self.buffer)
        self.end = 0
        self.sequence = -1
        self.lost = 0
        self.parts: list[bytes] = []
        self.frames = frames

    def feed(self, data: bytes) -> None:
        """Put bytes into the buffer and walk it."""
        self.view[self.end : self.end + len(data)] = data
        buf, mv, parts = self.buffer, self.view, self.parts
        pos, end = 0, self.end + len(data)
        while end - pos >= 4:
            if buf[pos] != 36:
                raise SystemExit("out of step")
            ln = (buf[pos + 2] << 8) | buf[pos + 3]
            nx = pos + 4 + ln
            if nx > end:
                break
            if buf[pos + 1] == 0:
                p = pos + 16
                seq = (buf[pos + 6] << 8) | buf[pos + 7]
                if self.sequence >= 0 and seq != (self.sequence + 1) & 0xFFFF:
                    self.lost += 1
                self.sequence = seq
                t = buf[p] & 0x1F
                if t == 28:
                    fu = buf[p + 1]
                    if fu & 0x80:
                        parts.append(b"\0\0\0\1" + bytes(((buf[p] & 0xE0) | (fu & 0x1F),)))
                    parts.append(bytes(mv[p + 2 : nx]))
                elif t == 24:
                    q = p + 1
                    while q < nx:
                        size = (buf[q] << 8) | buf[q + 1]
                        parts.append(b"\0\0\0\1")
                        parts.append(bytes(mv[q + 2 : q + 2 + size]))
                        q += 2 + size
                else:
                    parts.append(b"\0\0\0\1")
                    parts.append(bytes(mv[p:nx]))
                if buf[pos + 5] & 0x80:
                    self.frames.append(b"".join(parts))
                    parts.clear()
            pos = nx
        rest = end - pos
        if pos and rest:
            buf[:rest] = buf[pos:end]
        self.end = rest


class FullLoop:
    """The product's receiver."""

    def __init__(self, units: MutableSequence[AccessUnit]) -> None:
        builder = UnitBuilder(VideoCodec.H264, (), lambda _: None, units.append)
        self.receiver = make_receiver(
            VideoCodec.H264, payload_type=96, channels=(0, 1), builder=builder, on_message=lambda _: None
        )
        self.now_us = 1_700_000_000_000_000

    def feed(self, data: bytes) -> None:
        """Put bytes into the buffer as the socket does, and take them."""
        receiver = self.receiver
        receiver.writable()[: len(data)] = data
        self.now_us += 40_000
        receiver.received(len(data), self.now_us)


def seconds_for(feed: Callable[[bytes], None], chunks: list[bytes]) -> float:
    """CPU seconds to take all chunks."""
    start = time.process_time()
    for chunk in chunks:
        feed(chunk)
    return time.process_time() - start


def check(frames: list[list[bytes]], chunks: list[bytes]) -> None:
    """Both loops yield all frames, byte for byte; ours with the right times and keyframes."""
    bare, units = BareLoop([]), list[AccessUnit]()
    full = FullLoop(units)
    for chunk in chunks:
        bare.feed(chunk)
        full.feed(chunk)
    full.receiver.finish()
    assert bare.frames == [b"".join(b"\0\0\0\1" + nal for nal in nals) for nals in frames]
    assert [unit.payload for unit in units] == [join_lengths(nals) for nals in frames]
    assert [unit.pts_90k for unit in units] == [n * 3600 for n in range(len(frames))]
    assert sum(unit.is_keyframe for unit in units) == -(-len(frames) // GOP)
    assert full.receiver.lost_packets == 0


def measure(frames: list[list[bytes]], chunks: list[bytes]) -> dict[str, float]:
    """Best of several alternating runs, in microseconds per frame."""
    check(frames, chunks)
    bare_best = full_best = float("inf")
    for _ in range(REPEATS):
        bare_best = min(bare_best, seconds_for(BareLoop(deque(maxlen=RING_FRAMES)).feed, chunks))
        full_best = min(full_best, seconds_for(FullLoop(deque(maxlen=RING_FRAMES)).feed, chunks))
    count = len(frames)
    return {
        "us_per_frame": round(full_best / count * 1e6, 2),
        "bare_us_per_frame": round(bare_best / count * 1e6, 2),
        "frames_per_second": round(count / full_best),
        "ratio": round(full_best / bare_best, 3),
    }


def split(stream: bytes, source: random.Random) -> list[bytes]:
    """The stream in pieces of 4 to 16 KB: what a link of 10 to 25 Mbit/s brings in a tick of 5 ms."""
    pieces, position = [], 0
    while position < len(stream):
        size = source.randrange(4000, 16000)
        pieces.append(stream[position : position + size])
        position += size
    return pieces


def main() -> int:
    """Print the table; exit 1 if frames were wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=16, help="length of the stream")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    frames = make_frames(arguments.seconds * FPS)
    bursts = make_bursts(frames)
    pieces = split(b"".join(bursts), random.Random(2))  # noqa: S311
    result = {"bursts": measure(frames, bursts), "pieces": measure(frames, pieces)}
    if arguments.json:
        json.dump(result, sys.stdout)
        print()
        return 0
    for name, row in result.items():
        print(
            f"{name:8} {row['us_per_frame']:7.2f} µs/frame, bare loop {row['bare_us_per_frame']:7.2f}, "
            f"ratio {row['ratio']:.3f}, {row['frames_per_second']:,.0f} frames/s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
