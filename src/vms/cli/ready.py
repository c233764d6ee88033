"""Wait until services answer."""

import asyncio
import contextlib
import http.client
import urllib.error
from collections.abc import Mapping
from typing import Final

from vms.cli.client import OPENER
from vms.common.errors import ErrorKind, VmsError

_TIMEOUT_S: Final = 60.0
_INTERVAL_S: Final = 0.1


async def wait_ready(urls: Mapping[str, str]) -> None:
    """Return when every service's ``/health`` answers. Raises VmsError(UNAVAILABLE) naming those that do not."""
    waiting = dict(urls)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            while waiting:
                for name, url in list(waiting.items()):
                    if await asyncio.to_thread(_answers, f"{url}/health"):
                        del waiting[name]
                if waiting:
                    await asyncio.sleep(_INTERVAL_S)
    except TimeoutError:
        names = ", ".join(waiting)
        raise VmsError(
            ErrorKind.UNAVAILABLE, f"{names} did not start within {_TIMEOUT_S:.0f} s: see the messages above"
        ) from None


async def wait_listening(host: str, port: int, timeout_s: float = 10.0) -> bool:
    """Whether something accepts connections there before the time is over."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(host, port)
                    writer.close()
                    return True
                await asyncio.sleep(_INTERVAL_S)
    except TimeoutError:
        return False


def _answers(url: str) -> bool:
    try:
        with OPENER.open(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True  # it is up and says what it lacks
    except (OSError, http.client.HTTPException):
        return False
