"""HTTP Digest authentication, server side (RFC 2617 without qop, which is what RTSP clients agree on)."""

import hashlib
import hmac
from typing import Final
from urllib.parse import urlsplit

from vms.media.rtsp.auth import parse_challenges

REALM: Final = "VMS"


class DigestVerifier:
    """Checks one user's credentials on one connection; the nonce belongs to the connection and ends with it."""

    def __init__(self, username: str, password: str, nonce: str) -> None:
        self._username = username
        self._password = password
        self._nonce = nonce

    def challenge(self) -> str:
        """Value of the WWW-Authenticate header."""
        return f'Digest realm="{REALM}", nonce="{self._nonce}", algorithm=MD5'

    def accepts(self, method: str, uri: str, authorization: str | None) -> bool:
        """Whether an Authorization header proves knowledge of the password for this request."""
        fields = parse_challenges([authorization or ""])
        if len(fields) != 1 or fields[0].scheme != "digest":
            return False
        given = fields[0].parameters
        if (given.get("realm"), given.get("nonce")) != (REALM, self._nonce):
            return False
        # Clients differ in which form of the URI they sign (with track, slash, query); the resource must be the same.
        if not _same_resource(given.get("uri", ""), uri):
            return False
        secret = _md5(f"{self._username}:{REALM}:{self._password}")
        request = _md5(f"{method}:{given.get('uri', '')}")
        expected = _md5(f"{secret}:{self._nonce}:{request}")
        user_right = hmac.compare_digest(_bytes(given.get("username", "")), _bytes(self._username))
        return hmac.compare_digest(_bytes(given.get("response", "")), _bytes(expected)) and user_right


def _same_resource(signed: str, requested: str) -> bool:
    try:
        a, b = urlsplit(signed).path.strip("/"), urlsplit(requested).path.strip("/")
    except ValueError:
        return False
    return a == b or b.startswith(f"{a}/")


def _md5(text: str) -> str:
    return hashlib.md5(_bytes(text), usedforsecurity=False).hexdigest()  # the protocol's choice, not ours


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
