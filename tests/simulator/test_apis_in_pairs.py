"""Every API that can be served in two legs says the same by a strict prefill and decode rank as by one rank alone."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.kv_params import ASK_TO_KEEP
from tests.simulator.prefill_decode import ENGINE, OPTIONS, PrefillDecode, kv_usage, prompt, running_pair
from tests.simulator.rank_process import Reply, eventually
from tests.sse import documents_of

TEXT = prompt(300, "a river runs through it and ")
TURN = {"role": "user", "content": TEXT}


class Spoken(NamedTuple):
    """One API: a request, and what its prefill leg has otherwise."""

    path: str
    body: dict[str, Any]
    prefill: dict[str, Any]

    @property
    def first_leg(self) -> dict[str, Any]:
        return self.body | self.prefill | {"stream": False, "kv_transfer_params": ASK_TO_KEEP}


SAMPLING = {"max_tokens": 20, "ignore_eos": True}
RESPONSES = Spoken(
    "/v1/responses",
    {"model": "sim", "input": TEXT, "max_output_tokens": 20, "ignore_eos": True},
    {"max_output_tokens": 1, "store": False},
)
MESSAGES = Spoken("/v1/messages", {"model": "sim", "messages": [TURN], "max_tokens": 20}, {"max_tokens": 1})
GENERATE = Spoken(
    "/inference/v1/generate",
    {"model": "sim", "token_ids": list(range(20, 320)), "sampling_params": SAMPLING},
    {"sampling_params": SAMPLING | {"max_tokens": 1}},
)
APIS = [pytest.param(each, id=each.path) for each in (RESPONSES, MESSAGES, GENERATE)]


@pytest.fixture(scope="module")
def pair() -> Iterator[PrefillDecode]:
    with running_pair("--strict", "--enable-prompt-tokens-details", *OPTIONS) as ranks:
        yield ranks


def said(reply: Reply) -> str:
    """What an answer says, whole or streamed."""
    assert reply.status == 200, reply.body
    if reply.chunks:
        return "".join(map(_of_event, documents_of(reply.body.decode())))
    answer = reply.json()
    if "output" in answer:
        return str(answer["output"][0]["content"][0]["text"])
    return str(answer["content"][0]["text"] if "content" in answer else answer["choices"][0]["token_ids"])


def _of_event(event: dict[str, Any]) -> str:
    if event.get("type") == "response.output_text.delta":
        return str(event["delta"])
    if event.get("type") == "content_block_delta":
        return str(event["delta"]["text"])
    return "".join(str(choice["token_ids"]) for choice in event.get("choices", ())).replace("][", ", ")


def keep(pair: PrefillDecode, spoken: Spoken) -> dict[str, Any]:
    """The first leg: the params of the prefill rank's answer."""
    params = pair.prefill.post(spoken.path, spoken.first_leg).json()["kv_transfer_params"]
    assert params["do_remote_prefill"]
    return dict(params)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("spoken", APIS)
def test_two_legs_say_what_one_rank_says(pair: PrefillDecode, spoken: Spoken, stream: bool) -> None:
    alone = pair.decode.post(spoken.path, spoken.body)
    external = "vllm:external_prefix_cache_hits_total"
    pair.decode.post("/reset_prefix_cache", None)
    before = pair.decode.series(external)[ENGINE]
    reply = pair.decode.post(spoken.path, spoken.body | {"stream": stream, "kv_transfer_params": keep(pair, spoken)})
    assert said(reply).replace("][", ", ") == said(alone)
    assert pair.decode.series(external)[ENGINE] > before
    eventually(lambda: kv_usage(pair.prefill) == 0)


@pytest.mark.parametrize("spoken", APIS)
def test_what_the_prefill_rank_had_cached_is_in_the_usage(pair: PrefillDecode, spoken: Spoken) -> None:
    keep_once = keep(pair, spoken)
    pair.free(keep_once)
    params = keep(pair, spoken)
    told = params["remote_prefill_cached_tokens"]
    assert told >= 288
    usage = pair.decode.post(spoken.path, spoken.body | {"kv_transfer_params": params}).json()["usage"]
    details = usage.get("input_tokens_details") or usage.get("prompt_tokens_details") or {}
    assert details.get("cached_tokens", usage.get("cache_read_input_tokens")) == told


@pytest.mark.parametrize("spoken", [each for each in APIS if each.id != GENERATE.path])
def test_a_refused_decode_leg_frees_the_kv(pair: PrefillDecode, spoken: Spoken) -> None:
    params = keep(pair, spoken)
    refused = pair.decode.post(spoken.path, spoken.body | {"model": "nobody", "kv_transfer_params": params})
    assert refused.status == 404
    eventually(lambda: kv_usage(pair.prefill) == 0)


def test_a_prefill_leg_that_is_streamed_is_misuse() -> None:
    with running_pair(
        "--strict", "--kv-lease-ms", "200", *OPTIONS, misuse=("streamed_prefill", "abandoned_kv")
    ) as pair:
        for spoken in (RESPONSES, MESSAGES, GENERATE):
            pair.prefill.post(spoken.path, spoken.first_leg | {"stream": True})
        assert pair.prefill.get("/sim/misuse").json()["counts"]["streamed_prefill"] == 3
