"""Which requests may be served in two legs, a prefill and a decode one. Pure.

Of several answers or prompts only the first one's KV would be handed over, and log probabilities of the prompt make
the decode rank compute it again: such requests go to one rank whole. So do beams, and prompts that are no tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Raw

from gateway.prompt import Prompt
from gateway.wire import Api, Body

NOTHING = (b"", b"null")
OFF = (*NOTHING, b"false")
ONE = (*NOTHING, b"1")

NUMBER = re.compile(rb"(?:null|[0-9]{1,9})?")
BOOLEAN = re.compile(rb"(?:null|true|false)?")
OPTIONS = re.compile(
    rb'(?:null|\{\s*(?:"(?:include_usage|continuous_usage_stats)"\s*:\s*(?:null|true|false)\s*(?:,\s*)?)*\})?'
)
PLAIN: Mapping[str, re.Pattern[bytes]] = MappingProxyType(
    {
        "max_tokens": NUMBER,
        "max_completion_tokens": NUMBER,
        "min_tokens": NUMBER,
        "stream": BOOLEAN,
        "stream_options": OPTIONS,
    }
)
"""What a prefill rank is sent otherwise than the client wrote it (leg_bodies.py). Only the decode rank sees these, and
where it refuses one while it reads the body, nobody fetches the KV: so they have to be beyond doubt. "1e3" is a number
to us and not to vLLM.
"""


def is_pairable(api: Api, body: Body, asked: Prompt) -> bool:
    """Whether a request has one prompt and one answer, and none of what keeps a decode rank from loading KV.

    Nor anything that only the decode rank would refuse, before it looks at the KV it is offered: the blocks would wait
    for nobody. Nor what may cut the prompt differently on the two.
    """

    def given(name: str) -> bytes:
        return bytes(body.fields.get(name, Raw())).strip()

    scores_prompt = given("prompt_logprobs") not in NOTHING or (
        # vLLM: an echo has the log probabilities of the prompt too; for chat `top_logprobs` asks for them, which is
        # never null there.
        given("echo") not in OFF and (api is Api.CHAT or given("logprobs") not in NOTHING)
    )
    refused_unseen = (not body.streamed and given("stream_options") not in NOTHING) or not all(
        pattern.fullmatch(given(name)) for name, pattern in PLAIN.items()
    )
    return not (
        body.n > 1
        or asked.count > 1
        or scores_prompt
        or given("best_of") not in ONE
        or given("use_beam_search") not in OFF
        or given("prompt_embeds") not in NOTHING
        or given("truncate_prompt_tokens") not in NOTHING
        or refused_unseen
    )
