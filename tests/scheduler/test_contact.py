"""What a gateway says of a store that it cannot ask."""

from __future__ import annotations

import pytest

from scheduler.contact import Contact
from scheduler.errors import StoreUnavailableError


def test_each_reason_is_told_once_until_the_store_answers(caplog: pytest.LogCaptureFixture) -> None:
    contact = Contact(0.05)
    for _ in range(2):
        for reason in ("reset", "refused", "reset", "refused"):
            contact.lost(StoreUnavailableError(reason))
        contact.exchanged(0.001)
    assert [told.rpartition(": ")[2] for told in caplog.messages] == ["reset", "refused"] * 2
    assert contact.counters["store_losses"] == 4
