"""RTSP/1.0 messages as values: parse from a buffer, encode to bytes (RFC 2326 §4–§7).

Both sides use this module: the client core, the server core and the receive loop, which finds text messages between
interleaved packets. Nothing here reads a socket.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from vms.common.errors import ErrorKind, VmsError

MAX_MESSAGE_BYTES: Final = 64 * 1024

# Cameras that end lines with a bare LF exist, so both ends are accepted everywhere.
_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE: Final = re.compile(r"RTSP/\d\.\d +(\d{3})(?: +(.*))?")
_REQUEST_LINE: Final = re.compile(r"([A-Z][A-Z0-9_-]*) +(\S+) +RTSP/\d\.\d *")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BLANK: Final = b"\r\n"
# Every method and "RTSP/" start with a capital letter; anything else can be refused before a whole head is there.
_FIRST_BYTES: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Headers:
    """Header fields in order; names compare without case, a name may occur more than once. Immutable."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = tuple(pairs)

    def get(self, name: str) -> str | None:
        """First value of ``name``, or None."""
        lower = name.lower()
        return next((value for key, value in self._pairs if key.lower() == lower), None)

    def get_all(self, name: str) -> list[str]:
        """All values of ``name`` in order."""
        lower = name.lower()
        return [value for key, value in self._pairs if key.lower() == lower]

    def replaced(self, name: str, value: str) -> "Headers":
        """A copy with ``name`` once, at the end."""
        return Headers([*self.without(name), (name, value)])

    def without(self, name: str) -> "Headers":
        """A copy that does not hold ``name``."""
        lower = name.lower()
        return Headers(pair for pair in self._pairs if pair[0].lower() != lower)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return [(k.lower(), v) for k, v in self] == [(k.lower(), v) for k, v in other]

    def __hash__(self) -> int:
        return hash(tuple((k.lower(), v) for k, v in self))

    def __repr__(self) -> str:
        # Names only: values may hold credentials.
        return f"Headers({', '.join(key for key, _ in self._pairs)})"


@dataclass(frozen=True, slots=True)
class Request:
    """A request of either side."""

    method: str
    uri: str
    headers: Headers = Headers()  # noqa: RUF009 - immutable
    body: bytes = b""

    @property
    def cseq(self) -> int | None:
        """Sequence number (RFC 2326 §12.17), if there is a usable one."""
        return _cseq(self.headers)

    def encode(self) -> bytes:
        """Bytes for the wire; Content-Length is set from the body. Raises VmsError(INVALID) on a line break inside."""
        return _encode(f"{self.method} {self.uri} RTSP/1.0", self.headers, self.body)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of either side."""

    status: int
    reason: str
    headers: Headers = Headers()  # noqa: RUF009 - immutable
    body: bytes = b""

    @property
    def cseq(self) -> int | None:
        """Sequence number of the request that is answered, if there is a usable one."""
        return _cseq(self.headers)

    def encode(self) -> bytes:
        """Bytes for the wire; Content-Length is set from the body. Raises VmsError(INVALID) on a line break inside."""
        return _encode(f"RTSP/1.0 {self.status:03d} {self.reason}", self.headers, self.body)


def parse_message(buffer: bytes | bytearray, start: int, end: int) -> tuple[Request | Response, int] | None:
    """Parse one message from ``buffer[start:end]``.

    Returns the message and the position after it, or None when more bytes are needed. Blank lines before the message
    are skipped. Raises VmsError(PROTOCOL) when the bytes are not RTSP or the message exceeds 64 KB.
    """
    while start < end and buffer[start] in _BLANK:
        start += 1
    if start == end:
        return None
    if buffer[start] not in _FIRST_BYTES:
        raise _not_rtsp(bytes(buffer[start : min(end, start + 24)]))
    head_end = _END_OF_HEAD.search(buffer, start, min(end, start + MAX_MESSAGE_BYTES))
    if head_end is None:
        if end - start >= MAX_MESSAGE_BYTES:
            raise _too_large()
        if buffer.find(b"\n", start, end) >= 0:
            _parse_start_line(_text(buffer[start : buffer.index(b"\n", start, end)]).rstrip("\r"))
        return None
    lines = _text(buffer[start : head_end.start()]).replace("\r\n", "\n").split("\n")
    method_or_status, uri_or_reason = _parse_start_line(lines[0])
    headers = _parse_headers(lines[1:])
    body_start = head_end.end()
    body_end = body_start + _content_length(headers)
    if body_end - start > MAX_MESSAGE_BYTES:
        raise _too_large()
    if body_end > end:
        return None
    body = bytes(buffer[body_start:body_end])
    if isinstance(method_or_status, int):
        return Response(method_or_status, uri_or_reason, headers, body), body_end
    return Request(method_or_status, uri_or_reason, headers, body), body_end


def printable(text: str, limit: int = 120) -> str:
    """Text of a peer made safe for one line of a message or log."""
    return "".join(c if c.isprintable() else "?" for c in text[:limit])


def _parse_start_line(line: str) -> tuple[int, str] | tuple[str, str]:
    if match := _STATUS_LINE.fullmatch(line):
        return int(match[1]), (match[2] or "").strip()
    if match := _REQUEST_LINE.fullmatch(line):
        return match[1], match[2]
    raise _not_rtsp(line[:24].encode("utf-8", "surrogateescape"))


def _parse_headers(lines: list[str]) -> Headers:
    pairs: list[tuple[str, str]] = []
    for line in lines:
        if "\r" in line:
            raise VmsError(ErrorKind.PROTOCOL, "RTSP header holds a stray carriage return")
        if line[:1] in {" ", "\t"} and pairs:  # a folded header line (RFC 2068 §4.2)
            name, value = pairs[-1]
            pairs[-1] = (name, f"{value} {line.strip()}".strip())
            continue
        name, colon, value = line.partition(":")
        name = name.rstrip()
        if not colon or not _HEADER_NAME.fullmatch(name):
            raise VmsError(ErrorKind.PROTOCOL, f"RTSP header line '{printable(line, 40)}' has no valid name")
        pairs.append((name, value.strip()))
    return Headers(pairs)


def _content_length(headers: Headers) -> int:
    text = headers.get("Content-Length")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise VmsError(ErrorKind.PROTOCOL, f"RTSP Content-Length '{printable(text, 40)}' is not a number")
    return int(text)


def _cseq(headers: Headers) -> int | None:
    text = headers.get("CSeq") or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def _encode(start_line: str, headers: Headers, body: bytes) -> bytes:
    if body:
        headers = headers.replaced("Content-Length", str(len(body)))
    elif "Content-Length" in headers:
        headers = headers.replaced("Content-Length", "0")
    lines = [start_line, *(f"{name}: {value}" for name, value in headers)]
    if any("\r" in line or "\n" in line for line in lines):
        raise VmsError(ErrorKind.INVALID, "an RTSP header must not hold a line break")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape") + body


def _text(raw: bytes | bytearray) -> str:
    # surrogateescape: a realm in another character set has to go back byte for byte in the digest.
    return raw.decode("utf-8", "surrogateescape")


def _not_rtsp(raw: bytes) -> VmsError:
    shown = printable(raw.decode("ascii", "replace"), 24)
    return VmsError(ErrorKind.PROTOCOL, f"not an RTSP message (starts with '{shown}'): check host and port")


def _too_large() -> VmsError:
    return VmsError(ErrorKind.PROTOCOL, f"RTSP message larger than {MAX_MESSAGE_BYTES // 1024} KB")
