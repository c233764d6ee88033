"""Camera URLs: credentials are taken out on entry, so that no URL kept, sent or printed afterwards holds them."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from vms.common.errors import ErrorKind, VmsError

DEFAULT_PORT: Final = 554


@dataclass(frozen=True, slots=True)
class Credentials:
    """User name and password; the password never shows in a repr."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CameraUrl:
    """An ``rtsp://`` URL without credentials. ``target`` is path and query as given, or empty."""

    host: str
    port: int
    target: str

    def __str__(self) -> str:
        return f"rtsp://{self.authority}{self.target}"

    @property
    def authority(self) -> str:
        """Host, and the port where it is not the default; IPv6 addresses in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORT else f"{host}:{self.port}"


def parse_url(text: str) -> tuple[CameraUrl, Credentials | None]:
    """Split ``rtsp://[user[:password]@]host[:port][/path][?query]``.

    Credentials are percent-decoded. Raises VmsError(INVALID), whose message does not repeat the URL.
    """
    scheme, separator, rest = text.strip().partition("://")
    if scheme.lower() != "rtsp" or not separator:
        raise _invalid("it must start with rtsp://")
    if any(ord(c) <= 32 or ord(c) == 127 for c in rest):
        raise _invalid("it holds a space or control character")
    # A raw '/' or '?' in a password would end the authority early; a raw '@' would not, the last one counts.
    end = next((i for i, c in enumerate(rest) if c in "/?#"), len(rest))
    userinfo, at, host_port = rest[:end].rpartition("@")
    try:
        parts = urlsplit(f"rtsp://{host_port}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _invalid("host or port is malformed") from None
    if not host or port == 0:
        raise _invalid("it needs a host, such as rtsp://192.0.2.10:554/stream1")
    target = rest[end:].partition("#")[0]
    if target.startswith("?"):
        target = "/" + target
    url = CameraUrl(host=host, port=port or DEFAULT_PORT, target=target)
    if not at or not userinfo:
        return url, None
    username, _, password = userinfo.partition(":")
    return url, Credentials(unquote(username), unquote(password))


def strip_credentials(text: str) -> str:
    """A URL that a peer sent, without any user information in it."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    end = next((i for i, c in enumerate(rest) if c in "/?#"), len(rest))
    return f"{scheme}://{rest[:end].rpartition('@')[2]}{rest[end:]}"


def resolve_control(base: str, control: str | None) -> str:
    """The URL of a control attribute (RFC 2326 §C.1.1), credentials removed.

    Absolute URLs stand; ``*`` and nothing mean the base. A relative one is put behind the base, query and all: not what
    RFC 3986 says, but what cameras that answer with a query string in Content-Base expect.
    """
    if not control or control == "*":
        return base
    if control[:7].lower() == "rtsp://":
        return strip_credentials(control)
    if control[0] in "?/":
        return base.removesuffix("/") + control
    return f"{base.removesuffix('/')}/{control}"


def _invalid(reason: str) -> VmsError:
    return VmsError(ErrorKind.INVALID, f"the camera URL is not usable: {reason}")
