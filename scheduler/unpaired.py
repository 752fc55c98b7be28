"""Ranks that nothing pairs with, in a pool with prefill and decode ranks: versions that differ, most likely. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator


def unpaired(pool: str, prefills: Collection[str], decodes: Collection[str]) -> Iterator[str]:
    """A line for each pair class that only one of the two roles has; `prefills` and `decodes` are their classes.

    Prefill ranks alone get nothing. Decode ranks alone are told of where other ones are paired.
    """
    yield from _alone(pool, "prefill", prefills, "decode", decodes)
    if set(prefills) & set(decodes):
        yield from _alone(pool, "decode", decodes, "prefill", prefills)


def _alone(pool: str, role: str, classes: Collection[str], other_role: str, others: Collection[str]) -> Iterator[str]:
    there_are = ", ".join(sorted(others)) or "none"
    for pair_class in sorted(set(classes) - set(others)):
        yield (
            f"{role} ranks of {pool} that are {pair_class} pair with no {other_role} rank; {other_role} ranks are: "
            f"{there_are}"
        )
