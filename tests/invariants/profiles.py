"""How hard the property tests try: HYPOTHESIS_PROFILE=long for much harder than the ordinary suite."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

LONG = 40
"""How many times as many examples the long profile runs."""


def examples(count: int, steps: int = 50) -> settings:
    """Settings for a test of `count` examples of at most `steps` steps; deterministic but for the long profile."""
    profile = os.environ.get("HYPOTHESIS_PROFILE", "")
    return settings(
        max_examples=count * LONG if profile == "long" else count,
        stateful_step_count=steps,
        deadline=None,
        derandomize=profile != "long",
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if profile != "mutants" else [])],
    )
