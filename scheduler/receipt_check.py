"""Whether a receipt is what it says: as it was written, and its decision the one that comes out again.

What is caught: any change of a receipt, by its digest; with a new digest, whatever makes the decision come out
otherwise, or contradicts what led to it. Not caught: a receipt that somebody who may write into the store has made up
and that fits in itself.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from scheduler.errors import SchedulerError
from scheduler.misfit import Misfit
from scheduler.receipt import Receipt
from scheduler.receipt_replan import replan
from scheduler.receipt_rerun import rerun
from scheduler.receipt_search import FoundReceipt
from scheduler.store import Store

_SENSELESS = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError, SchedulerError)
"""What planning and scripts raise on ranks and asks that no gateway has made."""


async def check(found: FoundReceipt, request: str, empty_store: Callable[[], Store]) -> list[Misfit]:
    """All that does not fit of a receipt that was found for a request; `empty_store` makes one that stands still."""
    receipt = found.receipt
    wrong = [] if found.intact else [Misfit("digest", "that of another receipt", "the one of what is there")]
    if receipt.request != request:
        wrong.append(Misfit("request", repr(receipt.request), repr(request)))
    if receipt.pool != found.pool:
        wrong.append(Misfit("pool", repr(receipt.pool), repr(found.pool)))
    try:
        wrong += _unlike(wrong, await _made_again(receipt, empty_store()))
    except _SENSELESS as error:
        wrong.append(Misfit("the whole", "a decision", f"none ({type(error).__name__}: {error})"))
    return wrong


async def _made_again(receipt: Receipt, store: Store) -> list[Misfit]:
    return [*replan(receipt, Random(receipt.seed)), *await rerun(receipt, store)]


def _unlike(known: list[Misfit], more: list[Misfit]) -> list[Misfit]:
    return [each for each in dict.fromkeys(more) if each not in known]
