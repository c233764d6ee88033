"""Parameter sets made to measure, written bit by bit as the standards say."""

from dataclasses import dataclass, field

H264_PPS = bytes.fromhex("68ee3c80")
H265_VPS = bytes.fromhex("40010c01ffff01600000030000030000030000030096ac09")
H265_PPS = bytes.fromhex("4401e076b02640")


@dataclass
class BitWriter:
    """Collects bits, most significant first."""

    bits: list[int] = field(default_factory=list)

    def u(self, count: int, value: int) -> "BitWriter":
        self.bits += [value >> (count - 1 - i) & 1 for i in range(count)]
        return self

    def ue(self, value: int) -> "BitWriter":
        width = (value + 1).bit_length()
        return self.u(width - 1, 0).u(width, value + 1)

    def se(self, value: int) -> "BitWriter":
        return self.ue(2 * value - 1 if value > 0 else -2 * value)

    def rbsp(self) -> bytes:
        """Bytes with the stop bit behind the last one written."""
        bits = [*self.bits, 1]
        bits += [0] * (-len(bits) % 8)
        return bytes(int("".join(map(str, bits[i : i + 8])), 2) for i in range(0, len(bits), 8))


def escape(rbsp: bytes) -> bytes:
    """Emulation prevention (H.264 §7.4.1)."""
    out = bytearray()
    zeros = 0
    for byte in rbsp:
        if zeros == 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def h264_sps(
    width: int = 640,
    height: int = 480,
    *,
    profile: int = 100,
    fps: int | None = None,
    reorder: int | None = None,
    poc_type: int = 0,
    sps_id: int = 0,
) -> bytes:
    """A sequence parameter set; ``width`` and ``height`` are even. The VUI is there when it has something to say."""
    w = BitWriter().ue(sps_id)
    if profile == 100:
        w.ue(1).ue(0).ue(0).u(1, 0).u(1, 0)
    w.ue(4).ue(poc_type)
    if poc_type == 0:
        w.ue(4)
    mbs_wide, mbs_high = -(-width // 16), -(-height // 16)
    w.ue(4).u(1, 0).ue(mbs_wide - 1).ue(mbs_high - 1).u(1, 1).u(1, 1)
    crop_x, crop_y = (mbs_wide * 16 - width) // 2, (mbs_high * 16 - height) // 2
    w.u(1, int(bool(crop_x or crop_y)))
    if crop_x or crop_y:
        w.ue(0).ue(crop_x).ue(0).ue(crop_y)
    vui = fps is not None or reorder is not None
    w.u(1, int(vui))
    if vui:
        w.u(1, 0).u(1, 0).u(1, 0).u(1, 0)
        w.u(1, int(fps is not None))
        if fps is not None:
            w.u(32, 1).u(32, 2 * fps).u(1, 1)
        w.u(1, 0).u(1, 0).u(1, 0)
        w.u(1, int(reorder is not None))
        if reorder is not None:
            w.u(1, 1).ue(0).ue(0).ue(10).ue(10).ue(reorder).ue(max(reorder, 1))
    return bytes((0x67, profile, 0, 31)) + escape(w.rbsp())


def h265_sps(width: int = 640, height: int = 480, *, fps: int | None = None, reorder: int = 0) -> bytes:
    """A sequence parameter set of the Main profile with one sub-layer; ``width`` and ``height`` are even."""
    w = BitWriter().u(4, 0).u(3, 0).u(1, 1)
    w.u(8, 1).u(32, 0x60000000).u(48, 0xB00000000000).u(8, 93)
    coded_width, coded_height = -(-width // 8) * 8, -(-height // 8) * 8
    w.ue(0).ue(1).ue(coded_width).ue(coded_height)
    cropped = coded_width != width or coded_height != height
    w.u(1, int(cropped))
    if cropped:
        w.ue(0).ue((coded_width - width) // 2).ue(0).ue((coded_height - height) // 2)
    w.ue(0).ue(0).ue(4).u(1, 1).ue(4).ue(reorder).ue(0)
    for value in (0, 3, 0, 3, 0, 0):
        w.ue(value)
    w.u(1, 0).u(2, 0).u(1, 0).ue(0).u(1, 0).u(2, 0)
    w.u(1, int(fps is not None))
    if fps is not None:
        w.u(1, 0).u(1, 0).u(1, 0).u(1, 0).u(3, 0).u(1, 0)
        w.u(1, 1).u(32, 1).u(32, fps)
        w.u(1, 0).u(1, 0)
    w.u(1, 0)
    return b"\x42\x01" + escape(w.rbsp())
