"""What the NIXL connector does with legs asked for by hand: the ground on which gateways serve pairs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.real_engine.asking import CHAT, COMPLETIONS, PATHS, asked, said, text_of_words
from tests.real_engine.conftest import Engines, Told
from tests.real_engine.engine import BLOCK_TOKENS
from tests.real_engine.legs import kv_is_freed, prefill_leg

TOKENS = 24
CUT = 10


@pytest.mark.parametrize("path", PATHS)
def test_a_pulled_prompt_is_continued_as_on_one_server(engines: Engines, told: Told, path: str) -> None:
    body = asked(path, "pair", text_of_words(60, seed=21))
    own = said(engines.plain.post(path, body | {"model": "plain"}).content)
    params = prefill_leg(engines.prefill, path, body)["kv_transfer_params"]
    pulled_before = engines.decode.external_tokens
    answer = engines.decode.post(path, body | {"kv_transfer_params": params})
    assert said(answer.content).text == own.text
    assert answer.json()["kv_transfer_params"] is None
    pulled = engines.decode.external_tokens - pulled_before
    assert pulled == params["remote_num_tokens"]
    kv_is_freed(engines.prefill)
    told(f"`{own.text}`; {pulled:.0f} tokens pulled; params: {', '.join(params)}")


REFUSED: dict[str, dict[str, Any]] = {
    "unknown model": {"model": "forebay-release"},
    "unknown model and hardly a prompt": {"model": "forebay-release", "prompt": "x"},
    "max_tokens 0": {"max_tokens": 0},
    "too long": {"prompt": "hello world " * 2048},
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_a_decode_server_that_refuses_a_request_frees_what_was_prefilled_for_it(
    engines: Engines, told: Told, change: dict[str, Any]
) -> None:
    kv_is_freed(engines.prefill)
    expired = engines.prefill.gauges()["nixl_num_kv_expired_reqs_total"]
    body = asked(COMPLETIONS, "pair", text_of_words(60, seed=22))
    params = prefill_leg(engines.prefill, COMPLETIONS, body)["kv_transfer_params"]
    refused = engines.decode.post(COMPLETIONS, body | change | {"kv_transfer_params": params})
    assert refused.is_client_error
    kv_is_freed(engines.prefill)
    assert engines.prefill.gauges()["nixl_num_kv_expired_reqs_total"] == expired
    told(f"{refused.status_code}, and the blocks are free before their lease ends")


@pytest.mark.parametrize("path", PATHS)
def test_the_decode_server_tells_the_prefill_servers_cached_tokens(engines: Engines, told: Told, path: str) -> None:
    body = asked(path, "pair", text_of_words(60, seed=23))
    cached = []
    for _ in range(2):
        params = prefill_leg(engines.prefill, path, body)["kv_transfer_params"]
        answer = engines.decode.post(path, body | {"kv_transfer_params": params}).json()
        cached.append(answer["usage"]["prompt_tokens_details"]["cached_tokens"])
        assert cached[-1] == params["remote_prefill_cached_tokens"]
    prompt_tokens = answer["usage"]["prompt_tokens"]
    assert cached == [0, (prompt_tokens - 1) // BLOCK_TOKENS * BLOCK_TOKENS]
    told(f"{cached[0]}, then {cached[1]} of {prompt_tokens} (with --enable-prompt-tokens-details)")


def test_prefill_ending_in_a_stop_has_params_too(engines: Engines, told: Told) -> None:
    body = asked(COMPLETIONS, "pair", text_of_words(60, seed=24), return_token_ids=True)
    first = engines.plain.post(COMPLETIONS, body | {"model": "plain"}).json()["choices"][0]["token_ids"][0]
    stopped = body | {"stop_token_ids": [first]}
    answer = prefill_leg(engines.prefill, COMPLETIONS, stopped)
    assert answer["choices"][0]["finish_reason"] == "stop"
    decoded = engines.decode.post(COMPLETIONS, stopped | {"kv_transfer_params": answer["kv_transfer_params"]})
    own = engines.plain.post(COMPLETIONS, stopped | {"model": "plain"})
    assert said(decoded.content) == said(own.content)
    told(f"finish_reason stop, as the decode server's and the plain server's: `{said(own.content).text}`")


def test_a_server_without_connector_gives_no_params(engines: Engines) -> None:
    body = asked(COMPLETIONS, "plain", "x", max_tokens=1, kv_transfer_params={"do_remote_decode": True})
    answer = engines.plain.post(COMPLETIONS, body)
    assert (answer.status_code, answer.json()["kv_transfer_params"]) == (200, None)


@pytest.mark.parametrize("is_pulled", [False, True], ids=["decode alone", "pulled"])
def test_a_chat_is_continued_exactly_from_its_ids_on_the_decode_server(
    engines: Engines, told: Told, *, is_pulled: bool
) -> None:
    body = asked(CHAT, "pair", text_of_words(60, seed=25 + is_pulled), max_tokens=TOKENS, return_token_ids=True)
    whole = engines.plain.post(CHAT, body | {"model": "plain"}).json()
    ids = whole["choices"][0]["token_ids"]
    params: dict[str, Any] = {"prompt_token_ids": whole["prompt_token_ids"] + ids[:CUT]}
    if is_pulled:
        params = prefill_leg_over(engines, body, params["prompt_token_ids"]) | params
    rest = engines.decode.post(CHAT, body | {"max_tokens": TOKENS - CUT, "kv_transfer_params": params}).json()
    assert rest["prompt_token_ids"] == params["prompt_token_ids"]
    assert rest["choices"][0]["token_ids"] == ids[CUT:]
    told(f"{TOKENS - CUT} tokens after {CUT} as the plain server's without the cut")


def prefill_leg_over(engines: Engines, body: dict[str, Any], ids: list[int]) -> dict[str, Any]:
    """Params of a prefill of exactly these ids."""
    held = {"do_remote_decode": True, "do_remote_prefill": False, "prompt_token_ids": ids}
    answer = engines.prefill.post(CHAT, body | {"max_tokens": 1, "kv_transfer_params": held}).json()
    assert answer["prompt_token_ids"] == ids
    params: dict[str, Any] = answer["kv_transfer_params"]
    return params
