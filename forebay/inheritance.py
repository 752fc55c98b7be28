"""Which environment variables the children of `forebay up` get."""

from __future__ import annotations

from collections.abc import Mapping

from forebay.options import ENVIRONMENT_PREFIX, variable
from forebay.settings import UpSettings


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The children's environment: ours, with no variable of Forebay's.

    A shell is set up for other commands too. FOREBAY_ENGINES, meant for a rank, would give the ranks of `up` other
    names than it waits for.
    """
    return {name: value for name, value in environment.items() if not name.startswith(ENVIRONMENT_PREFIX)}


def gateway_keys(settings: UpSettings) -> dict[str, str]:
    """The environment variables with the gateways' keys; an empty one is no key."""
    return {variable("api_key"): ",".join(settings.api_key), variable("admin_key"): settings.admin_key}
