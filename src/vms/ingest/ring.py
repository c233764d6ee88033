"""The last seconds of a stream in memory: first picture for a viewer, pre-roll, replay by sequence number."""

from collections import deque
from typing import Final

from vms.common.stream import AccessUnit, FrameFlag, VideoParameters

# Plain integers: an IntFlag operation costs a microsecond, and these run for every frame.
_KEYFRAME: Final = int(FrameFlag.KEYFRAME)


class FrameRing:
    """Access units of about the last ``seconds``, and always those since the last keyframe within ``max_bytes``."""

    def __init__(self, *, seconds: float, max_bytes: int) -> None:
        self._span_90k = round(seconds * 90_000)
        self._max_bytes = max_bytes
        self._units: deque[AccessUnit] = deque()
        self._last_keyframe_seq = -1
        self.parameters: VideoParameters | None = None
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._units)

    def set_parameters(self, parameters: VideoParameters) -> None:
        """Frames from here on are coded with these; earlier ones are of no use to a new viewer."""
        self.parameters = parameters
        self.clear()

    def clear(self) -> None:
        """Forget everything, as when a session starts anew."""
        self._units.clear()
        self._last_keyframe_seq = -1
        self.size_bytes = 0

    def append(self, unit: AccessUnit) -> None:
        """Take the next frame in decode order."""
        units = self._units
        units.append(unit)
        self.size_bytes += len(unit.payload)
        if unit.flags & _KEYFRAME:
            self._last_keyframe_seq = unit.seq
        oldest_90k = unit.dts_90k - self._span_90k
        while units[0].dts_90k < oldest_90k and units[0].seq < self._last_keyframe_seq:
            self.size_bytes -= len(units.popleft().payload)
        while self.size_bytes > self._max_bytes and len(units) > 1:
            self.size_bytes -= len(units.popleft().payload)

    def gop(self) -> list[AccessUnit]:
        """Frames from the last keyframe on; empty when its start is no longer (or not yet) here."""
        return self.since(self._last_keyframe_seq) if self._last_keyframe_seq >= 0 else []

    def since(self, seq: int) -> list[AccessUnit]:
        """Frames from sequence number ``seq`` on; empty when that frame is gone."""
        if not self._units or seq < self._units[0].seq:
            return []
        result: list[AccessUnit] = []
        for unit in reversed(self._units):
            if unit.seq < seq:
                break
            result.append(unit)
        result.reverse()
        return result
