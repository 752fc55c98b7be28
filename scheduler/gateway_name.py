"""What a gateway is called in the ledger: `<life>@<address>`, and `.<attempt>` after it for each time it stated its
reservations. The life differs each time a gateway starts; scripts/resync.lua tells attempts of one life apart.
"""

from __future__ import annotations


def gateway_name(life: str, address: str) -> str:
    """The name of one life of a gateway; neither part has spaces, nor the life an `@`."""
    return f"{life}@{address}"


def attempt_name(gateway: str, attempt: int) -> str:
    """The name under which it holds reservations since its `attempt`-th statement of them."""
    return f"{gateway}.{attempt}"


def life_and_address(attempt: str) -> tuple[str, str]:
    """The life and the address of the gateway behind an attempt's name."""
    life, _, address = attempt.rpartition(".")[0].partition("@")
    return life, address
