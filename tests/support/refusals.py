"""For properties: code under test may refuse in documented ways, and fail in no other."""

from collections.abc import Iterator
from contextlib import contextmanager

from vms.common.errors import ErrorKind, VmsError


@contextmanager
def only_errors(*kinds: ErrorKind) -> Iterator[None]:
    """Lets VmsErrors of these kinds pass if they are one printable line; everything else fails the test."""
    try:
        yield
    except VmsError as error:
        if error.kind not in kinds or not error.message.isprintable():
            raise
