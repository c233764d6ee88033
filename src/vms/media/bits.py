"""Bit reader over a raw byte sequence payload: fixed-width and Exp-Golomb codes (ITU-T H.264 §7.2, §9.1)."""

from vms.common.errors import ErrorKind, VmsError

# Parameter sets are below 1 KB in practice; the bound keeps garbage from costing time.
MAX_PARAMETER_SET_BYTES = 8192


def unescape(nal: bytes) -> bytes:
    """The NAL unit without emulation prevention bytes (00 00 03 → 00 00; H.264 §7.4.1)."""
    if b"\x00\x00\x03" not in nal:
        return nal
    # Left to right and without overlap, as the standard removes them: 00 00 03 00 00 03 loses both.
    return nal.replace(b"\x00\x00\x03", b"\x00\x00")


class BitReader:
    """Reads bits from the most significant one on. Reading past the end raises VmsError(PROTOCOL)."""

    __slots__ = ("_data", "_end", "position")

    def __init__(self, rbsp: bytes) -> None:
        self._data = rbsp
        self._end = len(rbsp) * 8
        self.position = 0

    def bits(self, count: int) -> int:
        """The next ``count`` bits as an unsigned number."""
        start = self.position
        end = start + count
        if end > self._end:
            raise VmsError(ErrorKind.PROTOCOL, "parameter set ends early")
        self.position = end
        last_byte = (end + 7) >> 3
        return (int.from_bytes(self._data[start >> 3 : last_byte], "big") >> (last_byte * 8 - end)) & ((1 << count) - 1)

    def flag(self) -> bool:
        """The next bit."""
        return self.bits(1) == 1

    def skip(self, count: int) -> None:
        """Pass over ``count`` bits."""
        if self.position + count > self._end:
            raise VmsError(ErrorKind.PROTOCOL, "parameter set ends early")
        self.position += count

    def ue(self) -> int:
        """Unsigned Exp-Golomb code, ue(v)."""
        zeros = 0
        while not self.bits(1):
            zeros += 1
            if zeros > 32:
                raise VmsError(ErrorKind.PROTOCOL, "parameter set holds a code of more than 32 bits")
        return (1 << zeros) - 1 + self.bits(zeros) if zeros else 0

    def se(self) -> int:
        """Signed Exp-Golomb code, se(v)."""
        code = self.ue()
        return (code + 1) >> 1 if code & 1 else -(code >> 1)

    def aligned(self) -> bool:
        """Whether the position is on a byte border."""
        return self.position & 7 == 0

    @property
    def left(self) -> int:
        """Bits not read yet."""
        return self._end - self.position
