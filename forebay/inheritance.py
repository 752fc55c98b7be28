"""Which environment variables the children of `forebay up` get."""

from __future__ import annotations

from collections.abc import Mapping

from forebay.options import ENVIRONMENT_PREFIX


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The children's environment: ours, with no variable of Forebay's.

    A shell is set up for other commands too. FOREBAY_ENGINES, meant for a rank, would give the ranks of `up` other
    names than it waits for.
    """
    return {name: value for name, value in environment.items() if not name.startswith(ENVIRONMENT_PREFIX)}
