"""What can go wrong in the scheduler; store.py translates the library's errors into these, once. Pure."""

from __future__ import annotations


class SchedulerError(Exception):
    """Base of all errors the scheduler raises."""


class StoreUnavailableError(SchedulerError):
    """Redis did not answer: refused, closed, timed out, or not able to serve now."""


class StoreFullError(StoreUnavailableError):
    """Redis has no memory left for what it was to write."""


class StoreRejectedError(SchedulerError):
    """Redis answered with an error that asking again will not cure: a wrong password, a missing permission."""


class StoreDeniedError(StoreRejectedError):
    """Redis does not let this user in, or not do this."""


class StoreWrongTypeError(StoreRejectedError):
    """A key is not of the type that scheduler/keys.py says: somebody else wrote it, and the pool has to begin anew."""


class StoreUrlError(SchedulerError, ValueError):
    """A store URL that cannot be understood; the message names the part."""


class UnknownPolicyError(SchedulerError, ValueError):
    """A policy name that is not registered; the message lists the known ones."""


class UnknownRankError(SchedulerError, LookupError):
    """A rank name that no pool has; the message names it."""


class UnknownGroupError(SchedulerError, LookupError):
    """A DP group that no pool has; the message names it."""


class UnreadableReceiptError(SchedulerError, ValueError):
    """An entry of the receipts that is none, or of a newer release; the message says why."""


class NoReceiptError(SchedulerError, LookupError):
    """No pool keeps a receipt of a request; the message says how to get one."""


class BadApiKeyError(SchedulerError, ValueError):
    """What should describe an API key does not; the message says why, and shows nothing of it."""


class ApiKeyNameError(SchedulerError, LookupError):
    """No API key has this name, or one has it already; the message says which."""
