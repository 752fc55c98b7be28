"""Which requests may be served in two legs, a prefill and a decode one. Pure.

Of several answers or prompts only the first one's KV would be handed over, and log probabilities of the prompt make
the decode rank compute it again: such requests go to one rank whole. So do beams, and prompts that are no tokens.

Nor may anything only be refused by the decode rank, before it looks at the KV it is offered: the blocks would wait for
nobody. Nor may anything cut the prompt differently on the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec
from msgspec import Raw

from gateway import pairable_tools
from gateway.prompt import Prompt
from gateway.wire import Api, Body, Fields, sampling_of

NOTHING = (b"", b"null")
OFF = (*NOTHING, b"false")
ONE = (*NOTHING, b"1")
EMPTY = (*NOTHING, b"{}", b"[]")

NUMBER = re.compile(rb"(?:null|[0-9]{1,9})?")
POSITIVE = re.compile(rb"[1-9][0-9]{0,8}")
BOOLEAN = re.compile(rb"(?:null|true|false)?")
OPTIONS = re.compile(
    rb'(?:null|\{\s*(?:"(?:include_usage|continuous_usage_stats)"\s*:\s*(?:null|true|false)\s*(?:,\s*)?)*\})?'
)
PLAIN: Mapping[str, re.Pattern[bytes]] = MappingProxyType(
    {
        "max_tokens": NUMBER,
        "max_completion_tokens": NUMBER,
        "max_output_tokens": NUMBER,
        "min_tokens": NUMBER,
        "stream": BOOLEAN,
        "stream_options": OPTIONS,
        "store": BOOLEAN,
    }
)
"""What a prefill rank is sent otherwise than the client wrote it (leg_bodies.py). Only the decode rank sees these, and
where it refuses one while it reads the body, nobody fetches the KV: so they have to be beyond doubt. "1e3" is a number
to us and not to vLLM.
"""

GENERATE_TOKENS = 16
"""The limit that vLLM's own sampling parameters have until the server puts its own."""
SCORES_PROMPT = ("prompt_logprobs", "prompt_logprob_token_ids")


def is_pairable(api: Api, body: Body, asked: Prompt) -> bool:
    """Whether a request has one prompt and one answer, and none of what keeps a decode rank from loading KV."""
    fields = body.fields
    is_plain = all(pattern.fullmatch(given(fields, name)) for name, pattern in PLAIN.items())
    has_options = given(fields, "stream_options") not in NOTHING
    return body.n <= 1 and asked.count == 1 and is_plain and (body.streamed or not has_options) and RULES[api](fields)


def given(fields: Fields, name: str) -> bytes:
    """A field's JSON; nothing where it is not there."""
    return bytes(fields.get(name, Raw())).strip()


def _of_completions(fields: Fields) -> bool:
    # vLLM: an echo has the log probabilities of the prompt too.
    echoes_scores = given(fields, "echo") not in OFF and given(fields, "logprobs") not in NOTHING
    return _is_ordinary(fields) and not echoes_scores


def _of_chat(fields: Fields) -> bool:
    # Of an echo `top_logprobs` asks for log probabilities, which is never null there.
    return _is_ordinary(fields) and given(fields, "echo") in OFF


def _is_ordinary(fields: Fields) -> bool:
    return (
        given(fields, "prompt_logprobs") in NOTHING
        and given(fields, "best_of") in ONE
        and given(fields, "use_beam_search") in OFF
        and given(fields, "prompt_embeds") in NOTHING
        and given(fields, "truncate_prompt_tokens") in NOTHING
    )


def _of_responses(fields: Fields) -> bool:
    """One turn: what a rank keeps is on one rank, and its own tools make it go on by itself after a first answer.

    `truncation` cuts the prompt to what the limit of the answer leaves room for.
    """
    return (
        given(fields, "previous_response_id") in NOTHING
        and given(fields, "background") in OFF
        and given(fields, "truncation") in (*NOTHING, b'"disabled"')
        and pairable_tools.are_the_clients(fields)
        and not pairable_tools.are_forced(fields)
    )


class _Thinking(msgspec.Struct):
    budget_tokens: int | None = None


THINKING_DECODER = msgspec.json.Decoder(_Thinking | None)


def _of_messages(fields: Fields) -> bool:
    """A budget for thinking is checked against the limit, but for a prefill leg, and by the decode rank too late."""
    limit = given(fields, "max_tokens")
    if not POSITIVE.fullmatch(limit) or pairable_tools.are_forced(fields):
        return False
    try:
        thinking = THINKING_DECODER.decode(fields.get("thinking", Raw(b"null")))
    except msgspec.DecodeError:
        return False
    return thinking is None or thinking.budget_tokens is None or thinking.budget_tokens < int(limit)


def _of_generate(fields: Fields) -> bool:
    """Its sampling parameters are checked while the body is read; what it has beside tokens may be on one rank only."""
    sampling = sampling_of(fields)
    limit, least = given(sampling, "max_tokens"), given(sampling, "min_tokens")
    return (
        bool(sampling)
        and (limit == b"" or POSITIVE.fullmatch(limit) is not None)
        and re.fullmatch(rb"[0-9]{0,9}", least) is not None
        and int(least or 0) <= int(limit or GENERATE_TOKENS)
        and all(given(sampling, name) in NOTHING for name in SCORES_PROMPT)
        and given(sampling, "skip_reading_prefix_cache") in OFF
        and all(given(fields, name) in EMPTY for name in ("features", "content_parts"))
    )


RULES: Mapping[Api, Callable[[Fields], bool]] = MappingProxyType(
    {
        Api.CHAT: _of_chat,
        Api.COMPLETIONS: _of_completions,
        Api.RESPONSES: _of_responses,
        Api.MESSAGES: _of_messages,
        Api.GENERATE: _of_generate,
    }
)
