"""Settings that cannot work together are refused; types and ranges are the command line's to hold."""

import pytest

from simulator.settings import RankSettings


def test_the_defaults_are_those_of_the_study() -> None:
    assert RankSettings().kv_tokens == 524_288


def test_a_cache_that_cannot_hold_one_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^kv_blocks: 1 blocks of 16 tokens cannot hold"):
        RankSettings(kv_blocks=1)
