"""Who may talk to an HTTP service before users exist: this machine, by a name that is its own (design.md §9).

A page on the internet can make a browser send requests to 127.0.0.1. Two rules stop it: the Host header must be a
name of ours, which defeats DNS rebinding, and a request that changes something must not come from a foreign Origin.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vms.common.errors import ErrorKind, VmsError
from vms.web.problem import problem

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Ports do not count as another site, so the page of one service may show the video of another.
    "Cross-Origin-Resource-Policy": "same-site",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True)
class AccessPolicy:
    """Names this service answers to and origins that may call it.

    ``any_address`` accepts every IP literal as Host: a service that is open to the network is called by its address,
    and rebinding needs a name.
    """

    names: frozenset[str] = frozenset({"localhost"})
    origins: frozenset[str] = frozenset()
    any_address: bool = False

    def host_allowed(self, host: str) -> bool:
        """Whether a Host header names this service, on whatever port."""
        name = _host_name(host)
        if name is None:
            return False
        if name in self.names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.any_address or address.is_loopback

    def origin_allowed(self, origin: str, host: str) -> bool:
        """Whether a page of ``origin`` may change something here: its own page, or a configured one."""
        if origin in self.origins:
            return True
        parts = urlsplit(origin)
        return parts.scheme in {"http", "https"} and parts.netloc.lower() == host.lower()


def is_loopback(host: str) -> bool:
    """Whether a listening address is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def access_policy(
    *, host: str, allowed_hosts: Sequence[str], cors_origins: Sequence[str], allow_insecure_network: bool, service: str
) -> AccessPolicy:
    """The policy for a listening address.

    Raises VmsError(INVALID) when the service would be open to the network without asking anybody's name.
    """
    open_to_network = not is_loopback(host)
    if open_to_network and not allow_insecure_network:
        raise VmsError(
            ErrorKind.INVALID,
            f"{service}: refusing to listen on {host}: there are no users yet, so anyone on the network could watch "
            f"and delete; use 127.0.0.1 (with an SSH tunnel), or set {service}.allow_insecure_network: true",
            host=host,
        )
    return AccessPolicy(
        names=frozenset({"localhost", *(name.lower() for name in allowed_hosts)}),
        origins=frozenset(cors_origins),
        any_address=open_to_network,
    )


class AccessMiddleware:
    """ASGI middleware that enforces a policy and adds the security headers to every reply."""

    def __init__(self, app: ASGIApp, policy: AccessPolicy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 to what the policy forbids, pass on the rest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(Headers(scope=scope), scope["method"])
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
        else:
            await problem(403, ErrorKind.FORBIDDEN, refusal)(scope, receive, send_with_headers)

    def _refusal(self, headers: Headers, method: str) -> str | None:
        host = headers.get("host", "")
        if not self._policy.host_allowed(host):
            return f"this service does not answer to the name '{host[:100]}': add it to allowed_hosts, or use localhost"
        origin = headers.get("origin")
        if method in _SAFE_METHODS:
            return None
        if origin is not None and not self._policy.origin_allowed(origin, host):
            return f"a page of '{origin[:100]}' may not change anything here: add it to cors_origins if it should"
        if origin is None and headers.get("sec-fetch-site") == "cross-site":
            return "a page of another site may not change anything here"
        return None


def _host_name(host: str) -> str | None:
    """The name in ``name``, ``name:port``, ``[v6]`` or ``[v6]:port``; None for anything else."""
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        if not bracket:
            return None
    else:
        name, colon, port = host.partition(":")
        rest = colon + port
    if rest and not (rest[0] == ":" and rest[1:].isascii() and rest[1:].isdigit()):
        return None
    return name.lower().rstrip(".") or None


def page_origins(policy: AccessPolicy, port: int) -> str:
    """A regular expression of the origins under which this machine's own page is loaded from ``port``."""
    names = [re.escape(name) for name in sorted(policy.names)]
    address = r"[0-9.]+|\[[0-9a-fA-F:]+\]" if policy.any_address else r"127\.0\.0\.1|\[::1\]"
    return rf"https?://(?:{'|'.join(names)}|{address}):{port}"
