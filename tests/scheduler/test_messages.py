"""What a card says of a rank."""

from __future__ import annotations

from tests.samples import card


def test_ranks_pair_by_connector_version_and_geometry() -> None:
    one = card("a", connector="nixl", engine_version="0.32.0", kv_geometry="h8")
    assert one.pair_class == "nixl/0.32.0/h8"
