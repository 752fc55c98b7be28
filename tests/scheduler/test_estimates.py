"""Token counts of prompts and answers, guessed and then learned."""

from __future__ import annotations

import pytest

from scheduler.estimates import FIRST_BYTES_PER_TOKEN, FIRST_OUTPUT_TOKENS, TokenEstimator


def test_prompt_tokens_begin_with_a_guess_and_are_learned() -> None:
    estimator = TokenEstimator()
    assert estimator.prompt_tokens(400) == 400 / FIRST_BYTES_PER_TOKEN
    for _ in range(400):
        estimator.observe("chat", 200, 100, 10)
    assert estimator.prompt_tokens(400) == pytest.approx(200, abs=2)


@pytest.mark.parametrize("text_bytes", [0, 1])
def test_a_prompt_has_at_least_one_token(text_bytes: int) -> None:
    assert TokenEstimator().prompt_tokens(text_bytes) == 1


@pytest.mark.parametrize(
    ("api", "max_tokens", "observed", "expected"),
    [
        pytest.param("completions", 16, None, 16, id="a limit below the first guess"),
        pytest.param("chat", None, None, FIRST_OUTPUT_TOKENS, id="chat begins with a guess"),
        pytest.param("chat", None, 90, 90, id="chat is learned"),
        pytest.param("chat", 2_000, 90, 90, id="a high limit says nothing"),
        pytest.param("chat", 20, 90, 20, id="a low limit says all"),
        pytest.param("chat", 5_000, None, FIRST_OUTPUT_TOKENS, id="a high limit before anything is learned"),
    ],
)
def test_output_tokens_are(api: str, max_tokens: int | None, observed: int | None, expected: int) -> None:
    estimator = TokenEstimator()
    if observed is not None:
        estimator.observe(api, 100, 25, observed)
    assert estimator.output_tokens(api, max_tokens) == expected


def test_apis_are_learned_apart() -> None:
    estimator = TokenEstimator()
    estimator.observe("completions", 100, 25, 7)
    assert estimator.output_tokens("chat", None) == FIRST_OUTPUT_TOKENS


@pytest.mark.parametrize("usage", [(0, 0, 0), (0, 10, 0), (10, 0, 0)])
def test_nothing_is_learned_from_an_answer_without_usage(usage: tuple[int, int, int]) -> None:
    estimator = TokenEstimator()
    estimator.observe("chat", *usage)
    assert estimator.bytes_per_token == FIRST_BYTES_PER_TOKEN
    assert estimator.output_tokens("chat", None) == FIRST_OUTPUT_TOKENS


def test_one_odd_answer_moves_little() -> None:
    estimator = TokenEstimator()
    estimator.observe("chat", 100, 25, 100)
    estimator.observe("chat", 100, 25, 10_000)
    assert estimator.output_tokens("chat", None) < 300
