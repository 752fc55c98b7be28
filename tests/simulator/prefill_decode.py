"""A prefill and a decode rank as processes, and a client that does by hand what a gateway does with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from simulator.misuse import Kind
from tests.kv_params import ASK_TO_KEEP
from tests.simulator.rank_process import RankProcess, Reply, eventually, running_rank

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"

OPTIONS = ("--speed", "20", "--block-size-tokens", "32", "--max-model-len", "4096")
"""Of ranks like those that vLLM's answers were captured from."""
ENGINE = '{engine="0",model_name="sim"}'
"""The labels of their metrics."""


class PrefillDecode(NamedTuple):
    """One rank of each role."""

    prefill: RankProcess
    decode: RankProcess

    def keep(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The first leg: the kv_transfer_params of the prefill rank's answer."""
        reply = self.prefill.post(path, first_leg(body))
        assert reply.status == 200, reply
        params = reply.json()["kv_transfer_params"]
        assert isinstance(params, dict)
        return params

    def decode_with(self, path: str, body: dict[str, Any], params: object) -> Reply:
        """The second leg."""
        return self.decode.post(path, {**body, "kv_transfer_params": params})

    def answer(self, path: str, body: dict[str, Any]) -> Reply:
        """Both legs."""
        return self.decode_with(path, body, self.keep(path, body))

    def free(self, params: object) -> None:
        """Have the decode rank free the KV that nobody wants any more."""
        assert self.decode_with(COMPLETIONS, {"model": "nobody", "prompt": "x"}, params).status == 404
        eventually(lambda: kv_usage(self.prefill) == 0)


def changed(params: dict[str, Any], **fields: object) -> dict[str, Any]:
    """Params as they came but for these fields, which are named without `remote_`."""
    return {**params, **{f"remote_{name}": value for name, value in fields.items()}}


def first_leg(body: dict[str, Any]) -> dict[str, Any]:
    """The body for the prefill rank: one token, not streamed."""
    asked = {name: value for name, value in body.items() if name not in ("stream_options", "min_tokens")}
    if "max_completion_tokens" in body:
        asked["max_completion_tokens"] = 1
    return {**asked, "max_tokens": 1, "stream": False, "kv_transfer_params": ASK_TO_KEEP}


@contextmanager
def running_pair(
    *options: str,
    prefill_options: Sequence[str] = (),
    decode_options: Sequence[str] = (),
    misuse: Collection[Kind] = (),
) -> Iterator[PrefillDecode]:
    """Both ranks, ended with the block; with `--strict` only these kinds of misuse may have happened."""
    with ExitStack() as stack:
        yield PrefillDecode(
            stack.enter_context(running_rank("--role", "prefill", *options, *prefill_options, misuse=misuse)),
            stack.enter_context(running_rank("--role", "decode", *options, *decode_options, misuse=misuse)),
        )


def prompt(tokens: int, text: str = "a river runs through it and ") -> str:
    """A prompt of so many tokens."""
    return (text * (tokens // len(text) * 4 + 4))[: tokens * 4]


def ask(prompt: str, max_tokens: int, **more: Any) -> dict[str, Any]:
    """The body of a completion."""
    return {"prompt": prompt, "max_tokens": max_tokens, **more}


A, B = ask(prompt(148, "A " * 7), 12), ask(prompt(148, "B " * 7), 12)
"""Two requests that have nothing in common."""


def text_of(reply: Reply) -> str:
    """The first choice's text, whole or streamed."""
    assert reply.status == 200, reply
    if not reply.chunks:
        choice = reply.json()["choices"][0]
        return str(choice["text"] if "text" in choice else choice["message"]["content"])
    choices = [event["choices"][0] for event in reply.events()]
    return "".join(each["text"] if "text" in each else each["delta"].get("content", "") for each in choices)


def kv_usage(rank: RankProcess) -> float:
    """The share of its KV blocks that are held."""
    [usage] = rank.series("vllm:kv_cache_usage_perc").values()
    return usage
