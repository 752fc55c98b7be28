"""What of a request, beside what is said in it, decides how the prompt begins that an engine makes of it. Pure.

Fields of vLLM 0.32. What only touches the end of a prompt (`add_generation_prompt`, `continue_final_message`) is left
out. A template may use its arguments anywhere, so they are taken to matter, though for many models they do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from gateway.wire import NULL, Fields, integer_of

RENDERED_BY = (
    "cache_salt",
    "chat_template",
    "chat_template_kwargs",
    "reasoning_effort",
    "reasoning",
    "mm_processor_kwargs",
    "media_io_kwargs",
)
"""Where these differ nothing is shared. The salt changes no prompt, but engines keep such prompts apart."""
NOTHING = (b"", b"null")
BYTES_PER_TOKEN = 4
"""Of English text. Of a longer prompt than that it is believed that its beginning is cut off."""

ANY_DECODER = msgspec.json.Decoder()
SIDE_DECODER = msgspec.json.Decoder(str | None)


def seed(fields: Fields, *, special_tokens: bytes) -> bytes:
    """What tells apart prompts in which the same is said; nothing where all is as usual.

    `special_tokens` is the JSON of what `add_special_tokens` is where it is not given.
    """
    given = {name: canonical(fields[name]) for name in RENDERED_BY if name in fields}
    if (marked := bytes(fields.get("add_special_tokens", NULL))) != special_tokens:
        given["add_special_tokens"] = marked
    return b"".join(b"%b:%b;" % (name.encode(), value) for name, value in given.items() if value not in NOTHING)


def canonical(raw: Raw) -> bytes:
    """JSON whatever its spelling: key order, spaces and escapes do not matter where it can be read."""
    try:
        return msgspec.json.encode(ANY_DECODER.decode(raw), order="sorted")
    except (msgspec.DecodeError, RecursionError):
        return bytes(raw)


def given_bytes(raw: Raw) -> int:
    """The length of JSON; 0 where it says nothing."""
    return 0 if bytes(raw) in NOTHING else len(bytes(raw))


def kept_tokens(fields: Fields) -> int | None:
    """How many tokens of the end of a longer prompt are kept (`truncate_prompt_tokens`); None where all are.

    -1 is what the model takes: so long a prompt is the exception, and cannot be told here.
    """
    try:
        kept = integer_of(fields.get("truncate_prompt_tokens", NULL))
        side = SIDE_DECODER.decode(fields.get("truncation_side", NULL))
    except (msgspec.DecodeError, RecursionError):
        return None
    return kept if kept is not None and kept > 0 and side != "right" else None


def keeps_beginning(fields: Fields, text_bytes: int) -> bool:
    """Whether the beginning of so long a prompt is likely to be left."""
    kept = kept_tokens(fields)
    return kept is None or text_bytes <= kept * BYTES_PER_TOKEN


def left_of(fields: Fields, ids: Sequence[int]) -> Sequence[int]:
    """The token ids that are left of a prompt."""
    kept = kept_tokens(fields)
    return ids if kept is None else ids[-kept:]
