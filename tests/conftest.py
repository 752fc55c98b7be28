"""What all tests share."""

import os

from hypothesis import settings

settings.register_profile("the same examples", derandomize=True, database=None)


def pytest_configure() -> None:
    """Property tests try the same examples each time: what fails is the change at hand, not luck. Others are tried with
    HYPOTHESIS_PROFILE=long, which tests/invariants/profiles.py knows too.
    """
    if os.environ.get("HYPOTHESIS_PROFILE") != "long":
        settings.load_profile("the same examples")
