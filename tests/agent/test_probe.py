import gzip
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from agent.discovery import rank_card
from agent.errors import DiscoveryError, WarmUpError
from agent.evidence import Answered, Broken, EngineDead, Refused, Silent, Unanswered
from agent.probe import Probe, open_http
from agent.targets import Target
from scheduler.messages import RankCard
from tests.agent.fakes import ScriptedRank, healthy_answers, http, scripted_rank
from tests.agent.samples import ABOUT, engine, page_bytes, settings
from tests.ports import free_ports


@pytest.fixture
async def rank() -> AsyncIterator[ScriptedRank]:
    async with scripted_rank(healthy_answers()) as rank:
        yield rank


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_http() as client:
        yield client


def probe_of(client: httpx.AsyncClient, port: int, **options: Any) -> Probe:
    return Probe(client, f"http://127.0.0.1:{port}", settings(**options))


def a_card(**changes: Any) -> RankCard:
    return rank_card(changes.pop("rank", "r"), Target("h", 1), engine(), "p1", ABOUT, settings(**changes))


async def test_a_healthy_rank_answers_with_its_page(rank: ScriptedRank, client: httpx.AsyncClient) -> None:
    evidence = await probe_of(client, rank.port).look()
    assert isinstance(evidence, Answered)
    assert evidence.page.engines[0].generation_tokens == 263


async def test_proxy_variables_are_ignored(rank: ScriptedRank, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with open_http() as client:
        assert isinstance(await probe_of(client, rank.port).look(), Answered)


async def test_a_port_nobody_listens_on_refuses(client: httpx.AsyncClient) -> None:
    (port,) = free_ports(1)
    assert isinstance(await probe_of(client, port).look(), Refused)


async def test_a_name_whose_every_address_refuses_refuses(client: httpx.AsyncClient) -> None:
    (port,) = free_ports(1)
    assert isinstance(await Probe(client, f"http://localhost:{port}", settings()).look(), Refused)


async def test_a_host_that_cannot_be_found_is_silence(client: httpx.AsyncClient) -> None:
    assert isinstance(await Probe(client, "http://no-such-host.invalid:1", settings()).look(), Silent)


@pytest.mark.parametrize("path", ["/health", "/metrics"])
async def test_a_connection_that_is_taken_and_not_answered_in_time_is_no_silence(
    rank: ScriptedRank, client: httpx.AsyncClient, path: str
) -> None:
    rank.answers[path] = None
    evidence = await probe_of(client, rank.port, probe_timeout_ms=30).look()
    assert isinstance(evidence, Unanswered)
    assert evidence.until_s - evidence.from_s >= 0.03


async def test_no_connection_in_time_is_silence(client: httpx.AsyncClient) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        # Linux takes one more than the backlog; to the next it does not even answer.
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            assert isinstance(await probe_of(client, address[1], probe_timeout_ms=30).look(), Silent)


async def test_a_503_of_health_is_a_dead_engine_and_spares_the_page(
    rank: ScriptedRank, client: httpx.AsyncClient
) -> None:
    rank.answers["/health"] = http(503)
    assert isinstance(await probe_of(client, rank.port).look(), EngineDead)
    assert rank.asked == ["/health"]


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        pytest.param("/health", http(500), id="health fails"),
        pytest.param("/health", b"", id="hung up on"),
        pytest.param("/metrics", http(404), id="no page"),
        pytest.param("/metrics", http(200, b"<html>"), id="not a page"),
        pytest.param("/metrics", http(200, page_bytes("idle"))[:3000], id="a page cut off"),
        pytest.param("/metrics", b"SSH-2.0-OpenSSH_9.6\r\n", id="not HTTP"),
    ],
)
async def test_other_answers_are_broken(
    rank: ScriptedRank, client: httpx.AsyncClient, path: str, answer: bytes
) -> None:
    rank.answers[path] = answer
    assert isinstance(await probe_of(client, rank.port).look(), Broken)


ENDLESS = b"HTTP/1.1 200 OK\r\n\r\n"
LONG_PIECE = b"# HELP of nothing\n" * 4096


@pytest.mark.parametrize(("path", "largest_bytes"), [("/health", 4194304), ("/metrics", 16777216)])
async def test_an_answer_without_end_is_broken_off_and_named(
    rank: ScriptedRank, client: httpx.AsyncClient, path: str, largest_bytes: int
) -> None:
    rank.answers[path], rank.endless[path] = ENDLESS, LONG_PIECE
    evidence = await probe_of(client, rank.port).look()
    assert isinstance(evidence, Broken)
    assert evidence.detail == f"{path} answers more than {largest_bytes} bytes"


@pytest.mark.parametrize("path", ["/health", "/metrics"])
async def test_a_page_that_drips_for_ever_meets_the_deadline(
    rank: ScriptedRank, client: httpx.AsyncClient, path: str
) -> None:
    rank.answers[path], rank.endless[path] = ENDLESS, b"x"
    assert isinstance(await probe_of(client, rank.port, probe_timeout_ms=50).look(), Unanswered)


async def test_answers_are_wanted_plain_and_encoded_ones_are_refused(
    rank: ScriptedRank, client: httpx.AsyncClient
) -> None:
    rank.answers["/metrics"] = http(200, gzip.compress(page_bytes("idle")), b"content-encoding: gzip")
    evidence = await probe_of(client, rank.port).look()
    assert isinstance(evidence, Broken)
    assert evidence.detail == "/metrics answers in content-encoding gzip, which was not asked for"
    assert all("accept-encoding: identity" in head.lower() for head in rank.heads)


async def test_cookies_of_a_rank_are_not_kept(rank: ScriptedRank, client: httpx.AsyncClient) -> None:
    rank.answers["/health"] = http(200, b"", b"set-cookie: crumb=1")
    for _ in range(2):
        await probe_of(client, rank.port).look()
    assert not any("cookie" in head.lower() for head in rank.heads)


async def test_a_rank_without_a_health_route_is_judged_by_its_page(
    rank: ScriptedRank, client: httpx.AsyncClient
) -> None:
    del rank.answers["/health"]
    assert isinstance(await probe_of(client, rank.port).look(), Answered)


async def test_a_rank_describes_itself(rank: ScriptedRank, client: httpx.AsyncClient) -> None:
    assert await probe_of(client, rank.port).describe() == ABOUT


async def test_the_rank_key_goes_where_vllm_wants_it(rank: ScriptedRank, client: httpx.AsyncClient) -> None:
    probe = probe_of(client, rank.port, rank_api_key="secret")
    await probe.look()
    assert not any("secret" in head for head in rank.heads)
    await probe.describe()
    await probe.warm_up(a_card())
    assert ["secret" in head for head in rank.heads[-2:]] == [True, True]


@pytest.mark.parametrize(
    ("path", "answer", "named"),
    [
        pytest.param("/v1/models", http(401), "--rank-api-key", id="a key is wanted"),
        pytest.param("/v1/models", http(500), "/v1/models answers 500", id="an error"),
        pytest.param("/version", http(200, b"0.32.0"), "/version is not what vLLM answers", id="not JSON"),
        pytest.param("/v1/models", http(200, b'{"data": "x"}'), "not what vLLM answers", id="another shape"),
        pytest.param(
            "/version", http(200, b'{"version":"%s"}' % (b"1" * 999)), "not what vLLM answers", id="a long one"
        ),
        pytest.param(
            "/v1/models", http(200, b'{"data":[{"id":"tiny","max_model_len":%d}]}' % 2**60), "not what", id="no length"
        ),
        pytest.param("/version", b"", "/version: ", id="hung up on"),
        pytest.param("/version", None, "/version: TimeoutError", id="no answer"),
    ],
)
async def test_a_rank_that_cannot_be_described_says_why(
    rank: ScriptedRank, client: httpx.AsyncClient, path: str, answer: bytes | None, named: str
) -> None:
    rank.answers[path] = answer
    with pytest.raises(DiscoveryError, match=named):
        await probe_of(client, rank.port, probe_timeout_ms=500).describe()


@pytest.mark.parametrize("path", ["/version", "/v1/models"])
async def test_a_description_without_end_is_broken_off_and_named(
    rank: ScriptedRank, client: httpx.AsyncClient, path: str
) -> None:
    rank.answers[path], rank.endless[path] = ENDLESS, LONG_PIECE
    with pytest.raises(DiscoveryError, match=f"^{path} answers more than 4194304 bytes$"):
        await probe_of(client, rank.port).describe()


async def test_a_warm_up_goes_to_the_cards_own_engine(rank: ScriptedRank, client: httpx.AsyncClient) -> None:
    await probe_of(client, rank.port).warm_up(a_card(rank="r#1"))
    assert "x-data-parallel-rank: 1" in rank.heads[-1].lower()


@pytest.mark.parametrize("answer", [http(500, b"no kernel"), b"", None])
async def test_a_failed_warm_up_is_an_error(
    rank: ScriptedRank, client: httpx.AsyncClient, answer: bytes | None
) -> None:
    rank.answers["/v1/completions"] = answer
    with pytest.raises(WarmUpError, match="warm-up"):
        await probe_of(client, rank.port, warmup_timeout_ms=100).warm_up(a_card())


async def test_a_warm_up_answer_without_end_is_broken_off_and_named(
    rank: ScriptedRank, client: httpx.AsyncClient
) -> None:
    rank.answers["/v1/completions"], rank.endless["/v1/completions"] = ENDLESS, LONG_PIECE
    with pytest.raises(WarmUpError, match="answers more than 4194304 bytes"):
        await probe_of(client, rank.port).warm_up(a_card())
