import pytest

from agent.discovery import Description, ServedModel, rank_card, rank_names
from agent.errors import DiscoveryError
from agent.metrics_page import CacheConfig
from agent.targets import Target
from tests.agent.samples import ABOUT, engine, settings

PORT = Target("10.0.0.7", 9000)


def test_one_engine_has_the_ports_name_and_several_an_index() -> None:
    assert rank_names(PORT, [engine(engine="5")]) == ("10.0.0.7:9000",)
    hybrid = [engine(engine="8"), engine(engine="9"), engine(engine="10")]
    assert rank_names(PORT, hybrid) == ("10.0.0.7:9000#0", "10.0.0.7:9000#1", "10.0.0.7:9000#2")


def test_a_card_says_what_the_port_and_the_options_say() -> None:
    options = settings(role="prefill", connector="nixl", dp_group="g", max_num_seqs=8, label={"zone": "a"}, node="n")
    card = rank_card("10.0.0.7:9000", PORT, engine(), "p1", ABOUT, options)
    assert (card.endpoint, card.local_index) == ("http://10.0.0.7:9000", None)
    assert (card.role, card.model, card.incarnation, card.node) == ("prefill", "tiny", "p1", "n")
    assert (card.max_model_len, card.max_num_seqs, card.kv_capacity_tokens) == (2048, 8, 65536)
    assert (card.block_size, card.engine_version, card.dp_group, card.labels) == (32, "0.32.0", "g", {"zone": "a"})
    assert card.pair_class == "nixl/0.32.0/block32-auto"


def test_an_engine_on_a_shared_port_is_reached_by_its_position() -> None:
    card = rank_card("10.0.0.7:9000#1", PORT, engine(engine="9"), "p1", ABOUT, settings())
    assert (card.endpoint, card.local_index) == ("http://10.0.0.7:9000", 1)


def test_an_adapter_has_the_length_of_its_base_model() -> None:
    about = Description("0.32.0", (ServedModel("base", 4096), ServedModel("tiny", None)))
    assert rank_card("r", PORT, engine(), "p1", about, settings()).max_model_len == 4096


def test_the_kv_capacity_may_be_given() -> None:
    card = rank_card("r", PORT, engine(cache=None), "p1", ABOUT, settings(kv_capacity_tokens=1000))
    assert card.kv_capacity_tokens == 1000


@pytest.mark.parametrize(
    ("models", "cache", "missing"),
    [
        pytest.param((ServedModel("a"), ServedModel("b")), "known", "serves a, b, not tiny", id="another model"),
        pytest.param((), "known", "serves no model", id="no model"),
        pytest.param((ServedModel("tiny"),), "known", "no max_model_len", id="no length"),
        pytest.param(ABOUT.models, None, "--kv-capacity-tokens", id="no cache series"),
        pytest.param(ABOUT.models, "unknown", "--kv-capacity-tokens", id="blocks not told"),
    ],
)
def test_a_port_that_hides_what_a_card_needs_is_refused(
    models: tuple[ServedModel, ...], cache: str | None, missing: str
) -> None:
    capacity_tokens = 65536 if cache == "known" else 0
    config = cache and CacheConfig(capacity_tokens=capacity_tokens, block_size=16, dtype="auto")
    with pytest.raises(DiscoveryError, match=missing):
        rank_card("r", PORT, engine(cache=config), "p1", Description("0.32.0", models), settings())


def test_a_port_that_serves_many_other_models_is_refused_in_one_short_line() -> None:
    about = Description("0.32.0", tuple(ServedModel(f"{index:03}" + "x" * 1000) for index in range(100)))
    with pytest.raises(DiscoveryError, match=r"^serves 000x+\.\.\., not tiny$") as refusal:
        rank_card("r", PORT, engine(), "p1", about, settings())
    assert len(str(refusal.value)) < 300
