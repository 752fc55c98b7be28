"""A rank over real sockets: streams, stop strings, token ids, choices, and several engines behind one port."""

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from simulator import model, tokens
from tests.simulator.rank_process import RankProcess, Reply, running_rank

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def rank() -> Iterator[RankProcess]:
    with running_rank("--speed", "200", "--max-model-len", "4096", "--mean-output-tokens", "40") as process:
        yield process


def deltas(reply: Reply, index: int = 0) -> list[str]:
    choices = [choice for event in reply.events() for choice in event["choices"] if choice["index"] == index]
    return [choice["delta"].get("content", "") if "delta" in choice else choice["text"] for choice in choices]


def body(**more: Any) -> dict[str, Any]:
    return {"prompt": "a river runs through it", "max_tokens": 40, **more}


@given(st.text(min_size=1, max_size=40), st.integers(1, 30), st.integers(1, 3))
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_stream_adds_up_to_the_text(rank: RankProcess, text: str, max_tokens: int, n: int) -> None:
    for path, asked in ((COMPLETIONS, {"prompt": text}), (CHAT, {"messages": [{"role": "user", "content": text}]})):
        common = {**asked, "max_tokens": max_tokens, "n": n}
        whole = rank.post(path, common).json()["choices"]
        stream = rank.post(path, {**common, "stream": True})
        for index, choice in enumerate(whole):
            expected = choice["message"]["content"] if "message" in choice else choice["text"]
            assert "".join(deltas(stream, index)) == expected


def begins_with_half_a_character(prompt: str) -> bool:
    ids = tokens.encode(prompt)
    _, state = model.prompt_states(ids, 16)
    return "\ufffd" in tokens.piece(model.next_token(state, ids[-1], 0, 0)).decode(errors="replace")


def test_half_a_character_is_an_empty_delta() -> None:
    prompt = next(text for text in map(str, range(10_000)) if begins_with_half_a_character(text))
    with running_rank("--decode-step-ms", "400") as rank:
        found = deltas(rank.post(COMPLETIONS, body(prompt=prompt, max_tokens=4, ignore_eos=True, stream=True)))
    assert found[0] == ""
    assert not "".join(found).isascii()
    assert "\ufffd" not in "".join(found)


def test_tokens_that_come_faster_than_events_share_them(rank: RankProcess) -> None:
    asked = body(max_tokens=2000, ignore_eos=True, stream=True, return_token_ids=True)
    choices = [event["choices"][0] for event in rank.post(COMPLETIONS, asked).events()]
    assert max(len(choice["token_ids"]) for choice in choices) > 1
    assert sum(len(choice["token_ids"]) for choice in choices) == 2000


def test_continuing_from_the_ids_gives_the_same_answer(rank: RankProcess) -> None:
    whole = rank.post(COMPLETIONS, body(return_token_ids=True, ignore_eos=True)).json()["choices"][0]
    prompt, answer = whole["prompt_token_ids"], whole["token_ids"]
    rest = rank.post(
        COMPLETIONS, body(prompt=prompt + answer[:13], max_tokens=27, return_token_ids=True, ignore_eos=True)
    )
    assert answer[:13] + rest.json()["choices"][0]["token_ids"] == answer


def test_a_chat_can_be_continued_from_its_ids(rank: RankProcess) -> None:
    asked = {"messages": [{"role": "user", "content": "hello"}], "return_token_ids": True}
    whole = rank.post(CHAT, asked).json()
    answer = whole["choices"][0]["token_ids"]
    cut = len(answer) // 2
    rest = rank.post(COMPLETIONS, body(prompt=whole["prompt_token_ids"] + answer[:cut], max_tokens=4000))
    choice = rest.json()["choices"][0]
    assert choice["finish_reason"] == whole["choices"][0]["finish_reason"] == "stop"
    assert rest.json()["usage"]["completion_tokens"] == len(answer) - cut


def test_the_ids_of_a_stream_are_those_of_the_answer(rank: RankProcess) -> None:
    whole = rank.post(COMPLETIONS, body(return_token_ids=True)).json()["choices"][0]
    events = rank.post(COMPLETIONS, body(return_token_ids=True, stream=True)).events()
    choices = [event["choices"][0] for event in events]
    assert list(chain.from_iterable(choice["token_ids"] for choice in choices)) == whole["token_ids"]
    assert [choice["prompt_token_ids"] for choice in choices] == [
        whole["prompt_token_ids"],
        *[None] * (len(choices) - 1),
    ]


def test_tokenize_agrees_with_the_usage(rank: RankProcess) -> None:
    messages = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "\N{WATER WAVE} of text"}]
    count = rank.post("/tokenize", {"messages": messages}).json()["count"]
    assert rank.post(CHAT, {"messages": messages, "max_tokens": 1}).json()["usage"]["prompt_tokens"] == count
    text = "x" * 41
    count = rank.post("/tokenize", {"prompt": text}).json()["count"]
    assert rank.post(COMPLETIONS, body(prompt=text, max_tokens=1)).json()["usage"]["prompt_tokens"] == count == 11


def test_detokenize_gives_the_text_back(rank: RankProcess) -> None:
    found = rank.post("/tokenize", {"prompt": "caf\u00e9 \N{WATER WAVE}", "return_token_strs": True}).json()
    assert rank.post("/detokenize", {"tokens": found["tokens"]}).json() == {"prompt": "caf\u00e9 \N{WATER WAVE}"}
    assert len(found["token_strs"]) == found["count"]
    assert rank.post("/detokenize", {"tokens": [tokens.VOCABULARY_SIZE]}).status == 400


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_string_ends_the_text(rank: RankProcess, stream: bool) -> None:
    plain = rank.post(COMPLETIONS, body(ignore_eos=True)).json()["choices"][0]["text"]
    stop = plain[20:23]
    asked = body(ignore_eos=True, stop=[stop, "never there"], stream=stream)
    reply = rank.post(COMPLETIONS, asked)
    last = reply.events()[-1]["choices"][0] if stream else reply.json()["choices"][0]
    text = "".join(deltas(reply)) if stream else last["text"]
    assert (text, last["finish_reason"], last["stop_reason"]) == (plain[: plain.index(stop)], "stop", stop)
    shown = rank.post(COMPLETIONS, {**asked, "stream": False, "include_stop_str_in_output": True}).json()["choices"][0]
    assert shown["text"] == text + stop


def test_completions_get_sixteen_tokens_unless_they_say_more(rank: RankProcess) -> None:
    reply = rank.post(COMPLETIONS, {"prompt": "x", "ignore_eos": True})
    assert reply.json()["usage"]["completion_tokens"] == 16


def test_a_chat_ends_by_itself(rank: RankProcess) -> None:
    reply = rank.post(CHAT, {"messages": [{"role": "user", "content": "tell me"}]}).json()
    assert reply["choices"][0]["finish_reason"] == "stop"


def test_echo_shows_the_prompt_first(rank: RankProcess) -> None:
    plain = rank.post(COMPLETIONS, body()).json()["choices"][0]["text"]
    for prompt in (body()["prompt"], tokens.encode(body()["prompt"])):
        assert (
            rank.post(COMPLETIONS, body(prompt=prompt, echo=True)).json()["choices"][0]["text"]
            == body()["prompt"] + plain
        )
        assert (
            "".join(deltas(rank.post(COMPLETIONS, body(prompt=prompt, echo=True, stream=True))))
            == body()["prompt"] + plain
        )


def test_continuous_usage_counts_every_token(rank: RankProcess) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    for path, more in (
        (COMPLETIONS, body()),
        (CHAT, {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}),
    ):
        events = rank.post(path, {**more, "ignore_eos": True, "stream": True, "stream_options": options}).events()
        counts = [event["usage"]["completion_tokens"] for event in events]
        assert counts == sorted(counts)
        assert events[-1]["choices"] == []
        assert counts[-1] == counts[-2] == more["max_tokens"]


def test_streamed_log_probabilities_cover_every_token(rank: RankProcess) -> None:
    chat = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 7, "ignore_eos": True, "stream": True}
    events = rank.post(CHAT, {**chat, "logprobs": True, "top_logprobs": 2}).events()
    entries = [entry for event in events for entry in (event["choices"][0]["logprobs"] or {"content": []})["content"]]
    assert len(entries) == 7
    assert all(len(entry["top_logprobs"]) == 2 for entry in entries)
    found = rank.post(COMPLETIONS, body(logprobs=1, max_tokens=5, ignore_eos=True, stream=True)).events()
    offsets = [offset for event in found for offset in event["choices"][0]["logprobs"]["text_offset"]]
    assert offsets == sorted(offsets)
    assert len(offsets) == 5


def test_several_engines_share_a_port_and_are_chosen_by_header() -> None:
    options = ("--engines", "2", "--first-engine", "4", "--speed", "200", "--model", "tiny")
    with running_rank(*options) as rank:
        for index, count in ((0, 1), (1, 2)):
            for _ in range(count):
                assert rank.post(COMPLETIONS, body(max_tokens=8), X_data_parallel_rank=str(index)).status == 200
        assert rank.series("vllm:request_success_total") == {
            f'{{engine="{engine}",finished_reason="{reason}",model_name="tiny"}}': float(count * (reason == "length"))
            for engine, count in (("4", 1), ("5", 2))
            for reason in ("stop", "length", "abort", "error", "repetition")
        }
        refused = rank.post(COMPLETIONS, body(), X_data_parallel_rank="2")
        assert (refused.status, refused.body) == (
            400,
            (
                b'{"error":{"message":"data_parallel_rank 2 is out of range [0, 2).","type":"BadRequestError",'
                b'"param":null,"code":400}}'
            ),
        )
        assert rank.post(COMPLETIONS, body(), X_data_parallel_rank="x").status == 200


def test_requests_above_the_queue_limit_are_refused_and_counted() -> None:
    with running_rank("--max-num-queued-reqs", "2", "--model", "tiny") as rank:
        reply = rank.post(COMPLETIONS, body(n=3))
        assert (reply.status, reply.body) == (
            503,
            (
                b'{"error":{"message":"The engine is currently busy and cannot accept new requests. Please try again '
                b'later or on a different instance.","type":"Service Unavailable","param":null,"code":503}}'
            ),
        )
        rejections = rank.series("vllm:admission_rejections_total")
        assert rejections['{model_name="tiny",reason="max_num_queued_reqs"}'] == 1
        assert rank.post(COMPLETIONS, body(n=2, max_tokens=1)).status == 200


def test_a_long_prompt_is_served(rank: RankProcess) -> None:
    text = json.dumps(list(range(2500)))
    assert rank.post(COMPLETIONS, body(prompt=text, max_tokens=4)).json()["usage"]["prompt_tokens"] == -(
        -len(text) // 4
    )
