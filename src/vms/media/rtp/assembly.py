"""The access unit in progress: NAL units with 4-byte lengths, in pieces that are joined once."""

from typing import Final

from vms.common.errors import ErrorKind, VmsError

MAX_UNIT_BYTES: Final = 16 * 1024 * 1024
MAX_UNIT_NALS: Final = 4096

FAR: Final = 1 << 62  # a packet size that no buffer holds: no run of middle fragments is expected


class UnitAssembly:
    """What is kept of one access unit until it is complete. The receive loop inherits it to save a call per packet."""

    # Slots all the way down: with more than 30 attributes CPython gives up its fast instance dictionaries.
    __slots__ = (
        "_corrupt",
        "_fragment_at",
        "_fragment_word",
        "_kinds",
        "_nals",
        "_parts",
        "_run_step",
    )

    # Bytes of payload header of a fragment; set by the payload format.
    _fragment_header = 0

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._kinds = 0  # NAL unit types, as bits
        self._nals = 0
        self._corrupt = False
        self._fragment_at = -1  # index in parts of the header of the NAL unit in fragments, -1 without one
        self._fragment_word = -1  # payload header of its middle fragments
        self._run_step = FAR  # distance of packets in the present run of middle fragments

    def _whole(self, nal: bytes, kind: int) -> None:
        """A NAL unit in one piece."""
        self._nals = nals = self._nals + 1
        if nals > MAX_UNIT_NALS:
            raise _too_many_nals()
        self._kinds |= 1 << kind
        self._parts.append(len(nal).to_bytes(4, "big"))
        self._parts.append(nal)

    def _open_fragments(self, header: int, word: int, data: bytes) -> None:
        """First fragment of a NAL unit; ``header`` is its header, ``word`` the payload header of middle fragments."""
        if self._fragment_at >= 0:
            self._drop_fragments()
        self._nals = nals = self._nals + 1
        if nals > MAX_UNIT_NALS:
            raise _too_many_nals()
        self._fragment_at = len(self._parts)
        self._fragment_word = word
        # The length goes in front once it is known.
        self._parts.append(header.to_bytes(self._fragment_header - 1, "big"))
        self._parts.append(data)

    def _close_fragments(self, kind: int) -> None:
        """The NAL unit in fragments is complete."""
        parts, at = self._parts, self._fragment_at
        size = sum(map(len, parts[at:]))
        parts[at] = size.to_bytes(4, "big") + parts[at]
        self._kinds |= 1 << kind
        self._fragment_at = self._fragment_word = -1
        self._run_step = FAR

    def _drop_fragments(self) -> None:
        """Forget a NAL unit whose fragments are not all there."""
        if self._fragment_at >= 0:
            del self._parts[self._fragment_at :]
            self._fragment_at = self._fragment_word = -1
            self._run_step = FAR
            self._corrupt = True

    def _take_payload(self) -> bytes:
        """The unit as one bytes object. What comes next belongs to another."""
        parts = self._parts
        payload = b"".join(parts)
        if len(payload) > MAX_UNIT_BYTES:
            raise unit_too_large()
        # As _discard does, without a call per frame.
        parts.clear()
        self._kinds = self._nals = 0
        self._corrupt = False
        self._fragment_at = self._fragment_word = -1
        self._run_step = FAR
        return payload

    def _discard(self) -> None:
        self._parts.clear()
        self._kinds = 0
        self._nals = 0
        self._corrupt = False
        self._fragment_at = self._fragment_word = -1
        self._run_step = FAR


def _too_many_nals() -> VmsError:
    return VmsError(ErrorKind.PROTOCOL, f"the camera sends frames of more than {MAX_UNIT_NALS} NAL units")


def unit_too_large() -> VmsError:
    """The error for an access unit beyond the bound."""
    return VmsError(ErrorKind.PROTOCOL, f"the camera sends frames of more than {MAX_UNIT_BYTES >> 20} MB")
