"""What a gateway is called in the ledger: `<life>@<address>`, and `.<statement>` after it for each time it stated its
reservations. The life differs each time a gateway starts; scripts/resync.lua tells statements of one life apart.
"""

from __future__ import annotations


def gateway_name(life: str, address: str) -> str:
    """The name of one life of a gateway; neither part has spaces, nor the life an `@`."""
    return f"{life}@{address}"


def statement_name(gateway: str, statement: int) -> str:
    """The name under which a gateway holds reservations since it stated them for the `statement`-th time."""
    return f"{gateway}.{statement}"


def life_and_address(name: str) -> tuple[str, str]:
    """The life and the address of the gateway behind a statement's name."""
    life, _, address = name.rpartition(".")[0].partition("@")
    return life, address
