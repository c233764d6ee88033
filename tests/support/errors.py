"""Properties of the form "it works, or it refuses as documented"."""

from collections.abc import Callable


def refusal_of(call: Callable[[], object], *kinds: type[Exception]) -> Exception | None:
    """What ``call`` raises, if it is one of ``kinds``; None when it raises nothing. Anything else fails the test."""
    try:
        call()
    except kinds as error:
        return error
    return None
