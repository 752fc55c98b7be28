"""Ids in and ids out."""

from collections.abc import Iterator
from typing import Any

import pytest

from simulator import tokens
from tests.simulator.oracle import right_ids, right_text
from tests.simulator.rank_process import RankProcess, running_rank
from tests.sse import documents_of

GENERATE = "/inference/v1/generate"
IDS = tokens.encode("a river runs through it")


@pytest.fixture(scope="module")
def rank() -> Iterator[RankProcess]:
    with running_rank("--speed", "100", "--max-num-seqs", "4") as process:
        yield process


def asked(**sampling: Any) -> dict[str, Any]:
    return {"model": "sim", "token_ids": IDS, "sampling_params": {"max_tokens": 12, "ignore_eos": True} | sampling}


def derendering(ids: list[Any]) -> dict[str, Any]:
    choice = {"token_ids": ids, "finish_reason": "stop"}
    return {"prompt_tokens": 1, "generate_response": {"request_id": "r", "choices": [choice]}}


def answered(rank: RankProcess, path: str, body: dict[str, Any]) -> Any:
    reply = rank.post(path, body)
    assert reply.status == 200, reply.body
    return reply.json()["choices"]


def test_the_ids_are_the_models_own_streamed_and_whole(rank: RankProcess) -> None:
    right = right_ids(IDS, 12, ignore_eos=True)
    (choice,) = rank.post(GENERATE, asked()).json()["choices"]
    assert choice["token_ids"] == right
    events = documents_of(rank.post(GENERATE, asked() | {"stream": True}).body.decode())
    assert [token for event in events for token in event["choices"][0]["token_ids"]] == right


@pytest.mark.parametrize("path", [GENERATE, "/v1/chat/completions/derender"])
def test_ids_that_only_read_like_whole_numbers_are_taken_for_them(rank: RankProcess, path: str) -> None:
    ids = [float(IDS[0]), *IDS[1:]]
    body = asked() | {"token_ids": ids} if path == GENERATE else derendering(ids)
    whole = asked() if path == GENERATE else derendering(IDS)
    assert answered(rank, path, body) == answered(rank, path, whole)


def test_without_a_limit_the_context_is_one(rank: RankProcess) -> None:
    body = {"model": "sim", "token_ids": IDS, "sampling_params": {}}
    assert rank.post(GENERATE, body).json()["choices"][0]["finish_reason"] == "stop"


def test_text_comes_where_it_is_wanted(rank: RankProcess) -> None:
    (choice,) = rank.post(GENERATE, asked() | {"output_mode": "text"}).json()["choices"]
    assert choice["text"] == right_text(IDS, 12, ignore_eos=True)


def test_what_is_rendered_can_be_generated_and_read_again(rank: RankProcess) -> None:
    chat = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "model": "sim"}
    rendered = rank.post("/v1/chat/completions/render", chat).json()
    answer = rank.post(GENERATE, rendered).json()
    read = rank.post("/v1/chat/completions/derender", {"model": "sim", "generate_response": answer}).json()
    own = rank.post("/v1/chat/completions", chat).json()
    assert read["choices"][0]["message"] == own["choices"][0]["message"]


def test_there_are_no_more_choices_than_sequences(rank: RankProcess) -> None:
    reply = rank.post(GENERATE, asked(n=5))
    assert reply.status == 400
    assert "max_num_seqs (4), got 5" in reply.json()["error"]["message"]
