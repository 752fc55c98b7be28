"""What is inside an exception group."""

from __future__ import annotations


def first_cause(error: BaseException) -> BaseException:
    """The first error that is not a group: one is enough to tell the user."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
