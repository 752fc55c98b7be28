"""What is inside an exception group, and behind an exception."""

from __future__ import annotations


def first_cause(error: BaseException) -> BaseException:
    """The first error that is not a group: one is enough to tell the user."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def is_caused_by(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether one of that kind is among those from which the error was raised."""
    cause = error.__cause__
    return cause is not None and (isinstance(cause, kind) or is_caused_by(cause, kind))
