"""What a rank may answer to a preflight: whatever it is, it ends in what is known of the rank."""

import pytest

from agent.probe import open_http
from agent.targets import Target
from forebay.preflight.finding import Level
from forebay.preflight.fleet_check import fleet_findings
from forebay.preflight.rank_facts import RankFacts
from forebay.preflight.rank_probe import RankProbe
from scheduler.messages import Role
from tests.agent.fakes import healthy_answers, http, scripted_rank
from tests.ports import free_port


async def facts_of(answer: bytes) -> RankFacts:
    async with scripted_rank(healthy_answers() | {"/v1/completions": http(200, answer)}) as rank, open_http() as client:
        return await RankProbe(client, "", 5).facts(Target("127.0.0.1", rank.port), Role.PREFILL)


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


async def test_params_of_a_connector_that_does_not_pull_say_nothing() -> None:
    facts = await facts_of(b'{"kv_transfer_params": {"transfer_id": "t"}}')
    assert (facts.offer, facts.no_offer, facts.fault) == (None, "", "")


async def test_an_offer_is_tried() -> None:
    facts = await facts_of(offering(port=str(free_port())))
    assert facts.offer is not None
    assert facts.offer.reachable is False


@pytest.mark.parametrize("answer", [b"{}", b'{"kv_transfer_params": {}}'])
async def test_an_answer_without_a_word_of_kv_may_be_that_of_ranks_with_a_store(answer: bytes) -> None:
    (finding,) = fleet_findings([await facts_of(answer)])
    assert finding.level is Level.WARN
    assert finding.change.endswith("unless the ranks share a store of KV")
