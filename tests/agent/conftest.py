"""A real rank for a node to look after."""

from collections.abc import Iterator

import pytest

from tests.simulator.rank_process import RankProcess, running_rank


@pytest.fixture
def rank() -> Iterator[RankProcess]:
    with running_rank("--model", "tiny") as rank:
        yield rank
