"""The receive loop: bytes of an RTSP connection to access units, with as little work per packet as Python allows.

One buffer per camera is filled by the socket and walked once. Packets between the first and the last of a fragmented
NAL unit, nine in ten of a busy stream, have the same size and the same headers but for the sequence number: a compiled
struct cuts a whole run of them into (header, header, payload) at once, and four comparisons per run prove that each is
what it must be; where they do not hold, packets are compared one by one. Everything else takes the general path. The
payloads of a frame are joined into the one bytes object that travels on (RFC 2326 §10.12, RFC 3550). Memoryviews into
the buffer in place of these bytes, joined before the buffer is used again, were slower: 6.4 against 4.3 µs for twelve
packets.
"""

import functools
import struct
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Final

from vms.common.errors import ErrorKind, VmsError
from vms.media.rtp.assembly import FAR, MAX_UNIT_BYTES, UnitAssembly, unit_too_large
from vms.media.rtp.rtcp import ReceptionState, SenderReport, parse_rtcp
from vms.media.rtp.units import UnitBuilder
from vms.media.rtsp.message import Request, Response, parse_message

_BUFFER_BYTES: Final = 256 * 1024
_LARGEST_PACKET: Final = 4 + 0xFFFF  # an interleaved packet; an RTSP message is no longer either
_DOLLAR: Final = 0x24
# First units of a session, whose end is not believed until the next one begins: some cameras set the marker bit on
# every slice, and the first frame is a keyframe that must not be cut up.
_LEARNING_UNITS: Final = 2
_MAX_MISORDER: Final = 100  # RFC 3550 §A.1
_SEQUENCES: Final = bytes(range(256))  # low bytes of sequence numbers
_FIRST: Final = struct.Struct(">Q")  # '$', channel, length, flags and payload type, sequence number
_MARKER: Final = 1 << 23
_TAIL_MASK: Final = ~(0xFFFF << 32 | _MARKER)  # of those, what the last packet of a run has in common with the others
_RTP: Final = struct.Struct(">HHQ")  # flags and payload type, sequence number, timestamp and SSRC
# What a unit in progress may have cost in bytes received, headers included, before it is refused.
_MAX_RECEIVED_BYTES: Final = MAX_UNIT_BYTES * 5 // 4


class InterleavedReceiver(UnitAssembly):
    """Receives one video stream. Fill ``writable()``, then call ``received``; complete units go to ``builder``.

    Text messages between the packets go to ``on_message``. Subclasses know the payload format.
    """

    __slots__ = (
        "_add",
        "_arrival_us",
        "_buffer",
        "_builder",
        "_cycles",
        "_end",
        "_expected",
        "_key",
        "_learning",
        "_marked",
        "_marker_per_slice",
        "_new_source",
        "_on_message",
        "_plain",
        "_report",
        "_report_us",
        "_reported",
        "_restart",
        "_rtcp_channel",
        "_rtp_channel",
        "_run_head",
        "_run_magic",
        "_run_next",
        "_run_prefix",
        "_run_size",
        "_run_split",
        "_tail_head",
        "_tail_size",
        "_unit_began",
        "_view",
        "bytes",
        "ignored_packets",
        "lost_packets",
        "packets",
    )

    # NAL unit types that hold picture data, as bits.
    _picture_kinds = 0
    # Bits of a fragment's payload header that hold the NAL unit type.
    _kind_mask = 0

    def __init__(
        self,
        *,
        payload_type: int,
        channels: tuple[int, int],
        builder: UnitBuilder,
        on_message: Callable[[Request | Response], None],
    ) -> None:
        super().__init__()
        self._builder = builder
        self._add = builder.add
        self._on_message = on_message
        self._rtp_channel, self._rtcp_channel = channels
        self._plain = 0x8000 | payload_type  # version 2, no padding, extension, CSRC or marker
        self._run_magic = (_DOLLAR << 8 | self._rtp_channel) << 48 | self._plain << 16
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._end = 0  # bytes in the buffer
        self._marked = False  # the unit in progress, or the one just handed on, has had a marker bit
        self._arrival_us = 0  # of its first packet
        self._unit_began = 0  # value of ``bytes`` then
        self._run_next = -1  # first eight bytes of the next packet of the run: '$' to sequence number
        self._run_head = b""  # what follows in all packets of the run: timestamp, SSRC, payload header
        self._run_size = -1  # of its packets
        self._run_prefix = b""  # '$' to payload type, of all its packets
        self._run_split = _run_splitter(0, 0)
        self._tail_head = b""  # the same of the last fragment of the NAL unit
        self._tail_size = 0  # bytes before its data
        # The stream
        self._key = -1  # timestamp and SSRC
        self._expected = -1  # next sequence number
        self._restart = -1  # sequence number that confirms a restart of the count
        self._cycles = 0
        self._new_source = False
        self._learning = _LEARNING_UNITS
        self._marker_per_slice = False
        self._report: SenderReport | None = None
        self._report_us = 0
        self._reported = (0, 0)  # packets and lost packets at the last receiver report
        self.bytes = 0
        self.packets = 0
        self.lost_packets = 0
        self.ignored_packets = 0  # duplicates, other payload types and channels, malformed

    def writable(self) -> memoryview:
        """Where the next bytes of the connection go; never shorter than the largest packet."""
        return self._view[self._end :]

    def received(self, count: int, arrival_us: int) -> None:
        """Take ``count`` bytes that were put into ``writable()`` at ``arrival_us``.

        Raises VmsError(PROTOCOL) when the stream breaks its format or its bounds, VmsError(CLOSED) on an RTCP BYE, and
        whatever ``on_message`` and the builder raise.
        """
        self.bytes += count
        buffer = self._buffer
        view = self._view
        position = 0
        end = self._end + count
        step, run_next = self._run_step, self._run_next
        while True:
            if step is not FAR:
                if end - position >= step:
                    count = (end - position) // step
                    stop = position + count * step
                    start, head = run_next, self._run_head
                    low = run_next & 0xFF
                    if 2 < count <= 256 - low:
                        cut = _run_cutter(count, len(head), step - self._tail_size)(buffer, position)
                        if (
                            cut[::3].count(self._run_prefix) == count
                            and cut[1::3].count(head) == count
                            and buffer[position + 7 : stop : step] == _SEQUENCES[low : low + count]
                            and buffer[position + 6 : stop : step].count(run_next >> 8 & 0xFF) == count
                        ):
                            self._parts.extend(cut[2::3])
                            run_next += count
                            stop = position  # nothing is left for the loop
                    append = self._parts.append
                    for magic, same, data in self._run_split(view[position:stop]):
                        if magic != run_next or same != head:
                            break
                        append(data)
                        run_next += 1  # the sequence number stands last; where it wraps the run ends
                    if run_next != start:
                        position += (run_next - start) * step
                        self.packets += run_next - start
                        self._run_next = run_next
                        self._expected = run_next & 0xFFFF
                        if not self._expected:
                            self._cycles += 1
                if end - position > self._tail_size:
                    # What follows a run is most often the last fragment, with which the frame ends.
                    (first,) = _FIRST.unpack_from(buffer, position)
                    following = position + 4 + (first >> 32 & 0xFFFF)
                    if (
                        not (first ^ run_next) & _TAIL_MASK
                        and position + self._tail_size < following <= end
                        and view[position + 8 : position + self._tail_size] == self._tail_head
                    ):
                        self._tail(first, bytes(view[position + self._tail_size : following]))
                        position, step = following, FAR
                        continue
            if end - position < 4:
                break
            if buffer[position] != _DOLLAR:
                found = parse_message(buffer, position, end)
                if found is None:
                    break
                message, position = found
                self._on_message(message)
                continue
            following = position + 4 + (buffer[position + 2] << 8 | buffer[position + 3])
            if following > end:
                break
            channel = buffer[position + 1]
            if channel == self._rtp_channel:
                self._packet(position + 4, following, arrival_us)
                step, run_next = self._run_step, self._run_next
            elif channel == self._rtcp_channel:
                self._control(bytes(view[position + 4 : following]), arrival_us)
            else:
                self.ignored_packets += 1
            position = following
        rest = self._end = end - position
        if rest and position:
            view[:rest] = view[position:end]
        if self._parts and self.bytes - self._unit_began > _MAX_RECEIVED_BYTES:
            raise unit_too_large()

    def feed(self, data: bytes, arrival_us: int) -> None:
        """Take bytes that were read elsewhere, such as what came together with the last answer of the handshake."""
        position = 0
        while position < len(data):
            room = self.writable()
            piece = data[position : position + len(room)]
            room[: len(piece)] = piece
            position += len(piece)
            self.received(len(piece), arrival_us)

    def finish(self) -> None:
        """The connection has ended: hand on the unit that waited for its successor."""
        self._drop_fragments()
        if self._kinds & self._picture_kinds:
            if not self._marked:
                self._corrupt = True  # nothing says that this is all of it
            self._emit()

    def reception(self, now_us: int) -> ReceptionState | None:
        """State for a receiver report; None before the first packet. Begins a new reporting interval."""
        if self._expected < 0:
            return None
        packets, lost = self.packets - self._reported[0], self.lost_packets - self._reported[1]
        self._reported = (self.packets, self.lost_packets)
        report = self._report
        return ReceptionState(
            ssrc=self._key & 0xFFFFFFFF,
            highest_sequence=(self._cycles << 16) + self._expected - 1,
            lost_total=self.lost_packets,
            lost_fraction=lost / (packets + lost) if packets + lost else 0.0,
            last_middle_ntp=report.middle_ntp if report else 0,
            since_last_report_s=max(0, now_us - self._report_us) / 1e6,
        )

    # --- general path of a packet -----------------------------------------------------------------------

    def _packet(self, start: int, end: int, arrival_us: int) -> None:
        """One RTP packet, ``buffer[start:end]``."""
        if end - start < 13:
            self.ignored_packets += 1
            return
        head, sequence, key = _RTP.unpack_from(self._buffer, start)
        payload, payload_end = start + 12, end
        if head & 0xFF7F != self._plain:
            if head & 0xC07F != self._plain & 0xC07F:
                self.ignored_packets += 1
                return
            payload, payload_end = self._unusual_header(start, end)
            if payload >= payload_end:
                self.ignored_packets += 1
                return
        # A change of source comes first: its sequence numbers have nothing to do with those before.
        if (key ^ self._key) & 0xFFFFFFFF and self._key >= 0:
            self._change_source()
        gap = False
        if sequence != self._expected:
            if not self._accept(sequence):
                return
            gap = self._expected >= 0
            if not gap:
                self._begin_source(key & 0xFFFFFFFF)
        self._expected = (sequence + 1) & 0xFFFF
        if not self._expected:
            self._cycles += 1
        self.packets += 1
        if gap and self._fragment_at >= 0:
            self._drop_fragments()
        if key != self._key:
            if gap or self._kinds or self._fragment_at >= 0:
                self._end_unit_before(gap=gap)
            self._marked = False
            self._key = key
            self._arrival_us = arrival_us
            self._unit_began = self.bytes
        elif gap:
            self._corrupt = True
        elif self._marked:
            self._marker_per_slice = True  # the marked frame goes on: its marker meant a slice
        self._payload(payload, payload_end)
        if self._fragment_at >= 0:
            self._expect_run(start, end, payload, payload_end)
        elif head & 0x80 and self._kinds & self._picture_kinds:
            self._marked = True
            if not self._learning and not self._marker_per_slice:
                self._emit()

    def _expect_run(self, start: int, end: int, payload: int, payload_end: int) -> None:
        """Middle fragments like this packet, one after another, are to be expected."""
        if payload != start + 12 or payload_end != end:
            self._run_step = FAR
            return
        size = end - start
        header_bytes = self._fragment_header
        word = self._fragment_word
        same = bytes(self._view[start + 4 : payload])
        if size != self._run_size:
            self._run_size = size
            self._run_prefix = (self._run_magic >> 16 | size << 16).to_bytes(6, "big")
            self._run_split = _run_splitter(8 + header_bytes, size - 12 - header_bytes)
            self._tail_size = 16 + header_bytes
        self._run_step = 4 + size
        self._run_next = self._run_magic | size << 32 | self._expected
        self._run_head = same + word.to_bytes(header_bytes, "big")
        self._tail_head = same + (word | 0x40).to_bytes(header_bytes, "big")

    def _tail(self, first: int, data: bytes) -> None:
        """The last fragment of the run's NAL unit; ``first`` are the first eight bytes of its packet."""
        self.packets += 1
        self._expected = expected = (self._expected + 1) & 0xFFFF
        if not expected:
            self._cycles += 1
        self._parts.append(data)
        self._close_fragments(self._fragment_word & self._kind_mask)
        if first & _MARKER and self._kinds & self._picture_kinds:
            self._marked = True
            if not self._learning and not self._marker_per_slice:
                self._emit()

    def _unusual_header(self, start: int, end: int) -> tuple[int, int]:
        """Payload bounds of a packet with padding, extension or contributing sources (RFC 3550 §5.1, §5.3.1)."""
        first = self._buffer[start]
        payload = start + 12 + 4 * (first & 0x0F)
        if first & 0x10:
            if payload + 4 > end:
                return end, end
            payload += 4 + 4 * (self._buffer[payload + 2] << 8 | self._buffer[payload + 3])
        if first & 0x20:
            end -= self._buffer[end - 1]
        return payload, end

    def _accept(self, sequence: int) -> bool:
        """A sequence number that is not the next one: count what is lost, or refuse the packet as old."""
        if self._expected < 0:
            return True
        ahead = (sequence - self._expected) & 0xFFFF
        if ahead >= 0x8000:
            if 0x10000 - ahead <= _MAX_MISORDER or sequence != self._restart:
                self._restart = (sequence + 1) & 0xFFFF
                self.ignored_packets += 1
                return False
            # Two in a row from far behind: the sender restarted its count (RFC 3550 §A.1); what is lost is unknown.
        else:
            self.lost_packets += ahead
            if sequence < self._expected:
                self._cycles += 1
        self._restart = -1
        return True

    def _begin_source(self, ssrc: int) -> None:
        """The first packet of a source: now it is known whether a report that came before it is its own."""
        report = self._report
        if report is not None and report.ssrc == ssrc:
            self._builder.sender_report(report, self._report_us)
        else:
            self._report = None

    def _change_source(self) -> None:
        """Another SSRC: what is in progress ends here, and a new timeline begins."""
        self._drop_fragments()
        if self._kinds & self._picture_kinds:
            self._emit()
        self._discard()
        self._new_source = True
        self._expected = -1
        self._restart = -1
        self._report = None

    def _end_unit_before(self, *, gap: bool) -> None:
        """Another timestamp begins: end the unit in progress, if it has a picture and no marker ended it."""
        if self._fragment_at >= 0:
            self._drop_fragments()
        if self._kinds & self._picture_kinds:
            if gap and (self._marker_per_slice or not self._marked):
                self._corrupt = True  # its tail may be among the lost
            if self._marked:
                self._learning = max(0, self._learning - 1)
            self._emit()
        # Without a picture, parameter sets that came under a timestamp of their own stay and go with the next one.
        if gap:
            self._corrupt = True

    @abstractmethod
    def _payload(self, start: int, end: int) -> None:
        """Take the payload ``buffer[start:end]``, which is not empty."""

    # --- units and reports ------------------------------------------------------------------------------

    def _emit(self) -> None:
        """Hand on the unit in progress."""
        kinds, corrupt, new_source = self._kinds, self._corrupt, self._new_source
        self._new_source = False
        self._add(self._take_payload(), kinds, self._key >> 32, self._arrival_us, corrupt, new_source)

    def _control(self, packet: bytes, arrival_us: int) -> None:
        """An RTCP packet."""
        compound = parse_rtcp(packet)
        ssrc = self._key & 0xFFFFFFFF if self._key >= 0 else None
        for report in compound.reports:
            if ssrc is None or report.ssrc == ssrc:
                self._report = report
                self._report_us = arrival_us
                if ssrc is not None:
                    self._builder.sender_report(report, arrival_us)
        if ssrc is not None and ssrc in compound.goodbyes:
            self.finish()
            raise VmsError(ErrorKind.CLOSED, "the camera ended the stream (RTCP BYE)")


@functools.lru_cache(maxsize=1024)
def _run_splitter(head_bytes: int, data_bytes: int) -> Callable[[memoryview], Iterator[tuple[int, bytes, bytes]]]:
    """Cuts packets of equal size into first eight bytes, headers and data."""
    return struct.Struct(f">Q{head_bytes}s{data_bytes}s").iter_unpack


@functools.lru_cache(maxsize=4096)
def _run_cutter(packets: int, head_bytes: int, data_bytes: int) -> Callable[[bytearray, int], tuple[bytes, ...]]:
    """Cuts so many packets of equal size into (first six bytes, header behind the sequence number, data) each."""
    return struct.Struct(">" + f"6s2x{head_bytes}s{data_bytes}s" * packets).unpack_from
