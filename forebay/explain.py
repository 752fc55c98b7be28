"""`forebay explain`: the receipts of a request, each made again by the very scripts on a store of its own."""

from __future__ import annotations

from typing import NamedTuple

from scheduler.misfit import Misfit
from scheduler.receipt_check import check
from scheduler.receipt_search import FoundReceipt, find
from scheduler.rules_version import rules_version
from scheduler.settings import SchedulerSettings
from scheduler.store import Store
from simulator.store import VirtualStore


class Judged(NamedTuple):
    """A receipt, what does not fit of it, and whether it was decided by the rules of another release."""

    found: FoundReceipt
    misfits: tuple[Misfit, ...]
    other_rules: bool


class Explanation(NamedTuple):
    """All that is known of why a request went where it went, in the order in which it was decided."""

    request: str
    judged: tuple[Judged, ...]
    unreadable: tuple[str, ...]
    strange: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether there is a receipt, all can be read, and every one says what comes out again."""
        return bool(self.judged) and not self.unreadable and not any(each.misfits for each in self.judged)


async def explain(store: Store, request: str, settings: SchedulerSettings) -> Explanation:
    """Raises NoReceiptError, StoreUnavailableError, StoreRejectedError."""
    findings = await find(store, request, settings)
    judged = [
        Judged(found, tuple(await check(found, request, VirtualStore)), found.receipt.rules != rules_version())
        for found in findings.receipts
    ]
    return Explanation(request, tuple(judged), findings.unreadable, findings.strange)
