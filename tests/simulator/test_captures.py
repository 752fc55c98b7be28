"""The simulated rank answers as vLLM 0.32.0 answered the same bytes (captured; see tests/data/vllm/README.md)."""

import re
from collections.abc import Iterator

import pytest

from tests.simulator import captures
from tests.simulator.rank_process import RankProcess, Reply, running_rank

SUCCESSES = [*captures.names("completion"), *captures.names("chat"), *captures.names("tokenize")]
SUCCESSES += [
    name for name in captures.names("get_") if captures.load(name).reply.status == 200 and name != "get_health"
]
STREAMED = [name for name in SUCCESSES if "stream" in name]
NOT_AS_CAPTURED = ("err_token_out_of_vocab", "err_embeddings_route")
"""Its vocabulary is its own; and a simulated model generates and embeds, of which a real one does either."""
ERRORS = [name for name in captures.names("err_") if name not in NOT_AS_CAPTURED]
ERRORS += ["get_not_found", "get_v1_models_one", "get_wrong_method"]


@pytest.fixture(scope="module")
def rank() -> Iterator[RankProcess]:
    """A rank set up like the server the captures come from."""
    options = ("--model", "tiny", "--max-model-len", "2048", "--block-size-tokens", "32", "--kv-blocks", "2048")
    with running_rank(*options, "--max-num-seqs", "8", "--max-num-batched-tokens", "2048", "--speed", "0.5") as process:
        yield process


def head(reply: Reply) -> list[tuple[str, str]]:
    """The headers in order; the values that may differ are left out."""
    return [(name, "" if name in ("date", "content-length") else value) for name, value in reply.headers]


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_answered_byte_for_byte(rank: RankProcess, name: str) -> None:
    captured = captures.load(name)
    reply = rank.send(captured.request)
    assert (reply.status, reply.body) == (captured.reply.status, captured.reply.body)
    assert head(reply) == head(captured.reply)


def test_a_token_out_of_the_vocabulary_is_named(rank: RankProcess) -> None:
    captured = captures.load("err_token_out_of_vocab")
    huge = b"999999999999"
    asked = captured.request.replace(b"[999999]", b"[%b]" % huge).replace(b"Length: 72", b"Length: 78")
    assert rank.send(asked).body == captured.reply.body.replace(b"999999", huge)


@pytest.mark.parametrize("name", ["get_health", "get_ping", "head_health"])
def test_an_empty_answer_has_the_same_head(rank: RankProcess, name: str) -> None:
    captured = captures.load(name)
    reply = rank.send(captured.request)
    assert (reply.status, reply.body, head(reply)) == (captured.reply.status, b"", head(captured.reply))


@pytest.mark.parametrize("name", [name for name in SUCCESSES if name not in STREAMED and name != "get_ping"])
def test_an_answer_has_the_same_shape(rank: RankProcess, name: str) -> None:
    captured = captures.load(name)
    reply = rank.send(captured.request)
    assert reply.status == 200
    assert head(reply) == head(captured.reply)
    assert captures.shape(reply.json()) == captures.shape(captured.reply.json())


@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_has_the_same_framing_and_events(rank: RankProcess, name: str) -> None:
    captured = captures.load(name)
    reply = rank.send(captured.request)
    assert head(reply) == head(captured.reply)
    assert all(re.fullmatch(rb"data: .*\n\n", chunk) for chunk in reply.chunks)
    captures.assert_streamed_alike(reply.events(), captured.reply.events())


@pytest.mark.parametrize("name", ["completion", "chat", "completion_n2", "completion_two_prompts"])
def test_usage_adds_up_as_in_vllm(rank: RankProcess, name: str) -> None:
    captured = captures.load(name)
    ours, theirs = (reply.json()["usage"] for reply in (rank.send(captured.request), captured.reply))
    assert ours["completion_tokens"] == theirs["completion_tokens"]
    assert ours["total_tokens"] == ours["prompt_tokens"] + ours["completion_tokens"]


@pytest.mark.parametrize(("name", "answer_id"), [("completion_reqid", "cmpl-my-req-1"), ("chat", "chatcmpl-")])
def test_the_request_id_becomes_part_of_the_answers_id(rank: RankProcess, name: str, answer_id: str) -> None:
    found = rank.send(captures.load(name).request).json()["id"]
    assert found == answer_id or re.fullmatch(answer_id + "[0-9a-f]{16}", found)


@pytest.mark.parametrize("model", [{}, {"model": None}])
def test_no_model_named_is_the_one_served(rank: RankProcess, model: dict[str, None]) -> None:
    assert rank.post("/v1/completions", {"prompt": "x", "max_tokens": 1, **model}).json()["model"] == "tiny"


def test_unknown_fields_and_a_charset_do_no_harm(rank: RankProcess) -> None:
    body = {"prompt": "x", "max_tokens": 1, "bogus_field": 1, "kv_transfer_params": {"do_remote_prefill": True}}
    reply = rank.post("/v1/completions", body, Content_Type="application/json; charset=utf-8")
    assert reply.status == 200
    assert reply.json()["kv_transfer_params"] is None


def test_too_many_output_tokens_are_refused_in_chat_too(rank: RankProcess) -> None:
    captured = captures.load("err_max_tokens_too_big")
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 5000}
    assert rank.post("/v1/chat/completions", body).body == captured.reply.body
