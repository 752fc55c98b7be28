"""What the tests of prefill and decode ranks have in common."""

from collections.abc import Iterator

import pytest

from tests.simulator.prefill_decode import OPTIONS, PrefillDecode, running_pair


@pytest.fixture(scope="module")
def pair() -> Iterator[PrefillDecode]:
    """Ranks that are not strict, for a module that needs no others."""
    with running_pair(*OPTIONS) as ranks:
        yield ranks
