"""What a rank may answer to a preflight: whatever it is, it ends in what is known of the rank."""

import pytest

from agent.probe import open_http
from agent.targets import Target
from forebay.preflight.finding import Level
from forebay.preflight.fleet_check import fleet_findings
from forebay.preflight.rank_facts import Named, RankFacts
from forebay.preflight.rank_probe import RankProbe
from scheduler.messages import KvAddress, Role
from tests.agent.fakes import healthy_answers, http, scripted_rank
from tests.ports import free_port


def at(port: int, connector: str, kv: KvAddress | None = None) -> Named:
    return Named(Target("127.0.0.1", port), Role.PREFILL, connector, "m", kv)


async def facts_of(answer: bytes) -> RankFacts:
    async with scripted_rank(healthy_answers() | {"/v1/completions": http(200, answer)}) as rank, open_http() as client:
        return await RankProbe(client, "", 5).facts(at(rank.port, "pull"))


def offering(host: str = "127.0.0.1", port: str = "5600", engine: str = "e") -> bytes:
    named = f'"remote_engine_id": "{engine}", "remote_host": "{host}", "remote_port": {port}'
    return b'{"kv_transfer_params": {%b}}' % named.encode()


@pytest.mark.parametrize(
    "answer",
    [
        *(offering(port=port) for port in ("-1", "99999", "9" * 30, '"5600"')),
        *(offering(host=host) for host in ("", "a\\u0000b", "ä..b", "x" * 300)),
        offering(engine=""),
    ],
)
async def test_an_offer_that_cannot_be_reached_is_malformed(answer: bytes) -> None:
    facts = await facts_of(answer)
    assert facts.offer is None
    assert facts.no_offer.startswith("its kv_transfer_params are malformed: ")


@pytest.mark.parametrize(
    "answer", [b'{"kv_transfer_params":{"x":"\xff"}}', b'{"x":' + b"[" * 100_000, b"[]", b'{"kv_transfer_params": 3}']
)
async def test_an_answer_that_cannot_be_read_is_no_offer(answer: bytes) -> None:
    assert (await facts_of(answer)).no_offer.startswith("a prefill of 128 words failed: ")


async def test_an_offer_is_tried() -> None:
    facts = await facts_of(offering(port=str(free_port())))
    assert facts.offer is not None
    assert facts.offer.reachable is False


@pytest.mark.parametrize("answer", [b"{}", b'{"kv_transfer_params": {}}'])
async def test_an_answer_without_a_word_of_kv_offers_none(answer: bytes) -> None:
    (finding,) = fleet_findings([await facts_of(answer)])
    assert (finding.level, finding.what) == (
        Level.BAD,
        "offers no KV: its answer to a prefill has no kv_transfer_params",
    )


@pytest.mark.parametrize("connector", ["", "mooncake", "mooncake_layerwise", "sglang", "store"])
async def test_only_ranks_whose_connector_answers_are_asked_for_kv(connector: str) -> None:
    async with scripted_rank(healthy_answers()) as rank, open_http() as client:
        facts = await RankProbe(client, "", 5).facts(at(rank.port, connector))
    assert (facts.fault, facts.offer, facts.no_offer) == ("", None, "")
    assert "/v1/completions" not in rank.asked
    assert [finding.level for finding in fleet_findings([facts])] == ([] if connector else [Level.UNSEEN])


async def test_where_a_card_says_that_kv_is_given_is_tried_and_not_asked_for() -> None:
    away = KvAddress(engine_id="e", bootstrap_url=f"http://127.0.0.1:{free_port()}")
    async with scripted_rank(healthy_answers()) as rank, open_http() as client:
        here = KvAddress(engine_id="e", host="127.0.0.1", port=rank.port)
        probe = RankProbe(client, "", 5)
        offers = [(await probe.facts(at(rank.port, "mooncake", kv))).offer for kv in (here, away)]
    assert [offer.reachable if offer else None for offer in offers] == [True, False]
    assert "/v1/completions" not in rank.asked
