"""HTTP authentication as RTSP uses it, client side: Basic (RFC 7617) and Digest (RFC 2617, RFC 7616)."""

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from vms.media.rtsp.url import Credentials

_PARAMETER: Final = re.compile(r'[\s,]*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",\s]*))')
_SCHEME: Final = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9_-]*)(?=[\s,]|$)")
# The better the later: a challenge is chosen by this order (RFC 7616 §3.7).
_ALGORITHMS: Final = ("MD5", "MD5-SESS", "SHA-256-SESS", "SHA-256")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a WWW-Authenticate header: scheme in lower case, parameters by lower-case name."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def algorithm(self) -> str:
        """Digest algorithm in upper case; MD5 when not given."""
        return self.parameters.get("algorithm", "MD5").upper() or "MD5"

    @property
    def stale(self) -> bool:
        """Whether only the nonce was too old."""
        return self.parameters.get("stale", "").lower() == "true"

    @property
    def strength(self) -> int:
        """0 when this client cannot answer it; the greater the better."""
        if self.scheme == "basic":
            return 1
        if self.scheme != "digest" or "nonce" not in self.parameters or self.algorithm not in _ALGORITHMS:
            return 0
        if "qop" in self.parameters and "auth" not in self._qop_options():
            return 0
        return 2 + _ALGORITHMS.index(self.algorithm)

    def _qop_options(self) -> list[str]:
        return [option.strip().lower() for option in self.parameters["qop"].split(",")]


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Challenges of all WWW-Authenticate headers; what cannot be read is left out, never an error."""
    challenges: list[Challenge] = []
    for value in values:
        position = 0
        while position < len(value):
            if match := _PARAMETER.match(value, position):
                if challenges:
                    text = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
                    challenges[-1].parameters.setdefault(match[1].lower(), text)
            elif match := _SCHEME.match(value, position):
                challenges.append(Challenge(match[1].lower(), {}))
            else:
                position += 1
                continue
            position = match.end()
    return challenges


class Authenticator:
    """Answers the strongest challenge that a server offered, for every request from then on."""

    def __init__(self, credentials: Credentials, *, cnonce: Callable[[], str] = lambda: secrets.token_hex(8)) -> None:
        self._credentials = credentials
        self._cnonce = cnonce
        self._challenge: Challenge | None = None
        self._nonce_count = 0

    def accept(self, values: Iterable[str]) -> Challenge | None:
        """Take the strongest challenge of a 401 reply; None when there is none that can be answered."""
        best = max(parse_challenges(values), key=lambda c: c.strength, default=None)
        if best is None or not best.strength:
            return None
        self._challenge = best
        self._nonce_count = 0
        return best

    def header(self, method: str, uri: str) -> str | None:
        """Value of the Authorization header, or None before any challenge."""
        if self._challenge is None:
            return None
        if self._challenge.scheme == "basic":
            pair = f"{self._credentials.username}:{self._credentials.password}".encode()
            return "Basic " + base64.b64encode(pair).decode()
        return self._digest(self._challenge, method, uri)

    def _digest(self, challenge: Challenge, method: str, uri: str) -> str:
        parameters = challenge.parameters
        realm, nonce, algorithm = parameters.get("realm", ""), parameters["nonce"], challenge.algorithm
        cnonce = self._cnonce()
        secret = _hash(algorithm, f"{self._credentials.username}:{realm}:{self._credentials.password}")
        if algorithm.endswith("-SESS"):
            secret = _hash(algorithm, f"{secret}:{nonce}:{cnonce}")
        request = _hash(algorithm, f"{method}:{uri}")
        quoted = {"username": self._credentials.username, "realm": realm, "nonce": nonce, "uri": uri}
        plain: dict[str, str] = {}
        if "qop" in parameters:
            self._nonce_count += 1
            count = f"{self._nonce_count:08x}"
            quoted["response"] = _hash(algorithm, f"{secret}:{nonce}:{count}:{cnonce}:auth:{request}")
            plain = {"qop": "auth", "nc": count}
            quoted["cnonce"] = cnonce
        else:
            quoted["response"] = _hash(algorithm, f"{secret}:{nonce}:{request}")
            if algorithm.endswith("-SESS"):
                quoted["cnonce"] = cnonce
        if "algorithm" in parameters:
            plain["algorithm"] = parameters["algorithm"]
        if "opaque" in parameters:
            quoted["opaque"] = parameters["opaque"]
        fields = [f'{name}="{_escape(value)}"' for name, value in quoted.items()]
        return "Digest " + ", ".join(fields + [f"{name}={value}" for name, value in plain.items()])


def _hash(algorithm: str, text: str) -> str:
    raw = text.encode("utf-8", "surrogateescape")
    if algorithm.startswith("SHA-256"):
        return hashlib.sha256(raw).hexdigest()
    return hashlib.md5(raw, usedforsecurity=False).hexdigest()  # the protocol's choice, not ours


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
