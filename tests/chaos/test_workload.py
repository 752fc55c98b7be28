"""The requests of a run, and what must come back."""

import msgspec
import pytest

from simulator import chat_template, tokens
from tests.chaos.expected import answer_to
from tests.chaos.workload import LEAVES_WITHIN_BYTES, request

SEED = 9
SOME = [request(SEED, number, "sim") for number in range(300)]


def test_the_same_seed_and_number_ask_the_same_and_others_something_else() -> None:
    assert request(SEED, 7, "sim") == request(SEED, 7, "sim")
    assert len({each.body for each in SOME}) == len(SOME)
    assert request(SEED + 1, 7, "sim").body != request(SEED, 7, "sim").body


def test_a_run_has_all_sorts_of_requests() -> None:
    assert {(each.stream, each.path) for each in SOME} == {
        (stream, path) for stream in (True, False) for path in ("/v1/chat/completions", "/v1/completions")
    }
    assert {each.expected.finish_reason for each in SOME} == {"length", "stop"}
    assert any(each.is_long for each in SOME)
    assert any(each.leaves_after_bytes == 0 for each in SOME)
    assert any(each.leaves_after_bytes and each.leaves_after_bytes < LEAVES_WITHIN_BYTES for each in SOME)


def test_tiny_ones_are_short_and_stay() -> None:
    tiny = [request(SEED, number, "sim", tiny=True) for number in range(300)]
    assert not any(each.is_long or each.leaves_after_bytes is not None for each in tiny)


@pytest.mark.parametrize("each", SOME[:40])
def test_what_is_expected_is_of_the_prompt_that_is_sent(each: object) -> None:
    asked = SOME[SOME.index(each)]  # type: ignore[arg-type]
    body = msgspec.json.decode(asked.body)
    prompt = chat_template.render(body["messages"]) if "messages" in body else tokens.encode(body["prompt"])
    assert asked.expected == answer_to(prompt, body["max_tokens"], ignore_eos=body["ignore_eos"])
    assert asked.expected.prompt_tokens == len(prompt)
    assert len(asked.expected.ids) <= body["max_tokens"]


def test_who_goes_on_from_a_part_of_the_answer_gets_the_rest() -> None:
    prompt = tokens.encode("The water is held and let out.")
    whole = answer_to(prompt, 30, ignore_eos=True).ids
    assert answer_to([*prompt, *whole[:10]], 20, ignore_eos=True).ids == whole[10:]
    assert answer_to([*prompt, *whole[:9], whole[10]], 5, ignore_eos=True).ids != whole[10:15]
