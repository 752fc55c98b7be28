"""The README lists every peer's rule."""

from pathlib import Path

from simulator.cluster.peers.names import PEER_NAMES

README = Path(__file__).parents[4] / "README.md"


def test_the_readme_names_every_rule() -> None:
    text = README.read_text()
    assert [name for name in PEER_NAMES if f"`{name}`" not in text] == []
