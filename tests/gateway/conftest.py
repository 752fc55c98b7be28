"""What tests of the gateway share."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def only_new_objects() -> Iterator[None]:
    """The collector, and a test that looks through memory, see only what the test makes: the suite's own millions of
    objects would take them most of the test's time.
    """
    gc.freeze()
    yield
    gc.unfreeze()
