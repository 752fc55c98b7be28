"""What clients and other ranks did wrong with KV, counted in strict mode. Pure.

vLLM notices none of it: it answers as if all were well, with wrong text or KV that stays held. A strict rank answers
the same, and counts.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal

import msgspec

Kind = Literal[
    "wrong_kv",
    "reused_params",
    "expired_kv",
    "unknown_request",
    "foreign_blocks",
    "abandoned_kv",
    "wrong_engine",
    "altered_params",
    "prompt_mismatch",
    "not_one_prompt",
    "streamed_prefill",
    "wrong_role",
    "no_min_tokens",
    "given_params",
    "missing_kv",
    "late_prefill",
    "other_request_id",
    "slow_metaserver",
    "asked_twice",
    "never_asked",
    "left_waiting",
    "missing_transfer_id",
    "reused_transfer_id",
    "mismatched_ids",
    "blocks_in_push",
    "wrong_room",
    "waited_out",
]
"""What each stands for:

- `wrong_kv`: KV was pulled that is not the prompt's
- `reused_params`: KV was read that had been fetched or freed before
- `expired_kv`: KV was read after its lease
- `unknown_request`: KV was read or freed of a request nobody knows
- `foreign_blocks`: blocks were read that are not the named request's
- `abandoned_kv`: params were handed out, and nobody came for the KV within its lease
- `wrong_engine`: another engine than the one named was met at the address
- `altered_params`: the params are not as a prefill rank gave them
- `prompt_mismatch`: they are for a prompt of another length
- `not_one_prompt`: a leg of several prompts or choices, or with log probabilities of the prompt
- `streamed_prefill`: a prefill leg that asks for a stream or for more than a token
- `wrong_role`: a prefill leg on a decode rank, or the reverse
- `no_min_tokens`: a prefill leg that may end otherwise than by its limit, where nothing is offered then
- `given_params`: params for ranks that find KV in a store
- `missing_kv`: a prompt decoded whose prefill was asked for and is not in the store
- `late_prefill`: a prefill leg after the decode leg
- `other_request_id`: the legs of a pair that finds itself by their names have different ones
- `slow_metaserver`: a metaserver took so long to answer that it may have waited for a prefill
- `asked_twice`: one child's prefill was asked for twice
- `never_asked`: a rank called for a prefill, and none came within the time of a lease
- `left_waiting`: a request was left open for as long although its prefill had failed
- `missing_transfer_id`: a leg of a transfer without a name
- `reused_transfer_id`: a name, or a room, that an earlier request had
- `mismatched_ids`: legs that are to be matched by X-Request-Id have different ones
- `blocks_in_push`: a leg names blocks where the prefill rank is told the decode rank's
- `wrong_room`: a room that is none
- `waited_out`: a decode leg waited for KV until its time was over, and nobody had ended it
"""

_MOST_EXAMPLES: Final = 20


class Example(msgspec.Struct, frozen=True):
    """One misuse."""

    kind: Kind
    request_id: str
    detail: str


class MisuseReport(msgspec.Struct, frozen=True):
    """What GET /sim/misuse answers; `unclaimed` is the KV that somebody was told of and that is still kept."""

    total: int
    unclaimed: int
    counts: dict[str, int]
    examples: list[Example]


class MisuseBoard:
    """Counts while `strict`, else takes no note."""

    def __init__(self, *, strict: bool) -> None:
        self.strict: Final = strict
        self._counts: Counter[str] = Counter()
        self._examples: list[Example] = []

    def note(self, kind: Kind, request_id: str, detail: str = "") -> None:
        """Count one."""
        if not self.strict:
            return
        self._counts[kind] += 1
        if len(self._examples) < _MOST_EXAMPLES:
            self._examples.append(Example(kind, request_id, detail))

    def report(self, unclaimed: int) -> MisuseReport:
        """All since the start, or since the last `clear`."""
        return MisuseReport(self._counts.total(), unclaimed, dict(self._counts), list(self._examples))

    def clear(self) -> None:
        """Count from nothing again."""
        self._counts.clear()
        self._examples.clear()
