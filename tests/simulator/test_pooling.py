"""Prompts without an answer: they queue, are prefilled, hold KV and end."""

from collections.abc import Iterator

import pytest

from tests.simulator.prefill_decode import ENGINE, kv_usage, prompt
from tests.simulator.rank_process import RankProcess, eventually, request, running_rank


@pytest.fixture(scope="module")
def rank() -> Iterator[RankProcess]:
    with running_rank("--speed", "20", "--max-model-len", "100000") as process:
        yield process


def test_a_prompt_is_computed_and_nothing_generated(rank: RankProcess) -> None:
    names = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:iteration_tokens_total_sum")
    before = [rank.series(name)[ENGINE] for name in names]
    reply = rank.post("/v1/embeddings", {"input": [prompt(100, "one "), prompt(50, "two ")]})
    assert reply.json()["usage"]["prompt_tokens"] == 150
    eventually(lambda: kv_usage(rank) == 0)
    counted = [rank.series(name)[ENGINE] - value for name, value in zip(names, before, strict=True)]
    assert counted == [150, 0, 150]
    assert rank.state()["in_engine"] == 0


def test_a_prompt_that_was_computed_is_cached(rank: RankProcess) -> None:
    name = "vllm:prefix_cache_hits_total"
    rank.post("/v1/embeddings", {"input": prompt(64, "again ")})
    before = rank.series(name)[ENGINE]
    rank.post("/classify", {"input": prompt(64, "again ")})
    assert rank.series(name)[ENGINE] - before == 48


def test_an_embedding_whose_client_leaves_frees_its_kv(rank: RankProcess) -> None:
    aborted = rank.state()["aborted"]
    client = rank.connect()
    client.sendall(request("POST", "/v1/embeddings", {"input": prompt(90_000, "long ")}))
    eventually(lambda: kv_usage(rank) > 0 or rank.state()["in_engine"] > 0)
    client.close()
    eventually(lambda: rank.state()["aborted"] == aborted + 1)
    eventually(lambda: rank.state()["in_engine"] == 0 and kv_usage(rank) == 0)


def test_documents_are_ranked_by_likeness(rank: RankProcess) -> None:
    texts = ["alpha", "beta", "gamma"]
    found = rank.post("/rerank", {"query": "beta", "documents": texts, "top_n": 2}).json()["results"]
    assert found[0]["document"]["text"] == "beta"
    assert found[0]["relevance_score"] == pytest.approx(1)
    scores = rank.post("/score", {"queries": "beta", "documents": texts}).json()["data"]
    assert found[1]["relevance_score"] == max(scores[0]["score"], scores[2]["score"])


def test_a_class_comes_with_its_probability(rank: RankProcess) -> None:
    (found,) = rank.post("/classify", {"input": "good"}).json()["data"]
    assert sum(found["probs"]) == pytest.approx(1)
    assert found["label"] == f"LABEL_{found['probs'].index(max(found['probs']))}"


def test_too_many_at_once_are_refused() -> None:
    with running_rank("--max-num-queued-reqs", "2") as rank:
        assert rank.post("/v1/embeddings", {"input": ["a", "b", "c"]}).status == 503
