"""Drives the pure engine in virtual time."""

from collections.abc import Iterable
from typing import Any

from simulator import model
from simulator.engine import EngineCore
from simulator.sequence import EngineRequest
from simulator.settings import RankSettings
from simulator.step import Step


def settings(**options: Any) -> RankSettings:
    """A small engine: 4 sequences, 64 tokens a step, 32 blocks of 4 tokens."""
    small: dict[str, Any] = {
        "max_model_len": 100,
        "max_num_seqs": 4,
        "max_num_batched_tokens": 64,
        "kv_blocks": 32,
        "block_size_tokens": 4,
    }
    return RankSettings(**(small | options))


def request(
    request_id: int, prompt: list[int], max_tokens: int, block_size_tokens: int = 4, **more: Any
) -> EngineRequest:
    keys, state = model.prompt_states(prompt, block_size_tokens)
    known: dict[str, Any] = {"arrival_s": 0.0, "ignore_eos": True}
    return EngineRequest(
        request_id=request_id,
        prompt_tokens=len(prompt),
        block_keys=tuple(keys),
        state=state,
        last_token=prompt[-1],
        max_tokens=max_tokens,
        **(known | more),
    )


def ids(start: int, count: int) -> list[int]:
    """A prompt unlike those that start elsewhere."""
    return list(range(1000 * start, 1000 * start + count))


def run(core: EngineCore, now_s: float = 0.0, most_steps: int = 2000) -> list[Step]:
    """Step until there is nothing to do."""
    steps: list[Step] = []
    while (step := core.step(now_s)) is not None:
        assert len(steps) < most_steps, "the engine never comes to an end"
        now_s = step.end_s
        steps.append(step)
    return steps


def answers(steps: Iterable[Step]) -> dict[int, list[int]]:
    """The tokens of each request."""
    found: dict[int, list[int]] = {}
    for step in steps:
        for out in step.outputs:
            found.setdefault(out.sequence.request.request_id, []).append(out.token)
    return found
