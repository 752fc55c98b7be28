"""How large a prompt is and how it begins. Pure.

Size is in bytes of UTF-8 text (role names and template marks are part of the learned bytes per token), or in
ids where the client sends token ids. Pictures and other media in `data:` URLs are not text and do not count.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from gateway.errors import InvalidRequestError
from gateway.wire import Api, Fields, excerpt, invalid

LEADING_BYTES = 2048
"""How much of a prompt its key covers: about the 512 tokens that conversations with one system prompt share.
"""

LEADING_IDS = 512
"""The same for a prompt of token ids."""

PART_BYTES = 2048
"""How much of each end of a media part counts for the key."""


class _Message(msgspec.Struct):
    role: str
    content: str | list[str | dict[str, Any]] | None = None
    tool_calls: Raw = Raw()


NULL = Raw(b"null")
MESSAGES_DECODER = msgspec.json.Decoder(list[_Message])
PROMPTS_DECODER = msgspec.json.Decoder(str | list[str | int | list[int]] | None)
ERROR_PATH = re.compile(r" - at `\$([^`]*)`$")


class Prompt(msgspec.Struct, frozen=True):
    """What is known of a prompt before it is tokenised.

    `text_bytes` of text and `token_ids` given as ids, over all `count` prompts of the request; `key` is equal
    for prompts whose leading blocks are, whatever the JSON around them looks like.
    """

    text_bytes: int
    token_ids: int
    count: int
    key: str


def read(api: Api, fields: Fields) -> Prompt:
    """The prompt of a request's fields. Raises InvalidRequestError, in vLLM's words, where there is none to
    read.
    """
    return _chat(fields) if api is Api.CHAT else _completion(fields)


def _chat(fields: Fields) -> Prompt:
    if "messages" not in fields:
        raise invalid("missing", "body.messages", "Field required", f"<dict of {len(fields)} items>")
    messages: list[_Message] = _decode(MESSAGES_DECODER, fields["messages"], "body.messages")
    pieces = [piece for message in messages for piece in _pieces(message)]
    text_bytes = sum(len(piece) for piece, is_text in pieces if is_text)
    text_bytes += len(fields.get("tools", b"")) + sum(len(message.tool_calls) for message in messages)
    return Prompt(text_bytes, 0, 1, _key(piece for piece, _ in pieces))


def _pieces(message: _Message) -> Iterator[tuple[bytes, bool]]:
    """What a message says, in order, as (bytes, whether they are text the model reads)."""
    yield message.role.encode(), False
    content = message.content
    if isinstance(content, str):
        yield content.encode(), True
    for part in content if isinstance(content, list) else ():
        text = part if isinstance(part, str) else part.get("text")
        if isinstance(text, str):
            yield text.encode(), True
        else:
            yield _ends(msgspec.json.encode(part, order="sorted")), False


def _ends(part: bytes) -> bytes:
    if len(part) <= 2 * PART_BYTES:
        return part
    return b"%d:%b%b" % (len(part), part[:PART_BYTES], part[-PART_BYTES:])


def _completion(fields: Fields) -> Prompt:
    prompts = _decode(PROMPTS_DECODER, fields.get("prompt", NULL), "body.prompt")
    if prompts is None:
        if bytes(fields.get("prompt_embeds", NULL)) == b"null":
            raise InvalidRequestError(
                "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)",
                param="prompt",
            )
        return Prompt(0, 0, 1, _key(()))
    if isinstance(prompts, str):
        return _texts([prompts])
    kinds = {type(prompt) for prompt in prompts}
    if len(kinds) > 1:
        raise invalid("list_type", "body.prompt", "Input should be a valid list", "<list of mixed items>")
    if kinds == {int}:
        return _ids([prompts])
    return _ids(prompts) if kinds == {list} else _texts(prompts)


def _texts(texts: Sequence[str]) -> Prompt:
    encoded = [text.encode() for text in texts]
    return Prompt(sum(map(len, encoded)), 0, max(1, len(texts)), _key(encoded[:1]))


def _ids(prompts: Sequence[Sequence[int]]) -> Prompt:
    leading = " ".join(map(str, prompts[0][:LEADING_IDS])).encode()
    return Prompt(0, sum(map(len, prompts)), len(prompts), hashlib.blake2b(leading, digest_size=16).hexdigest())


def _key(pieces: Iterable[bytes]) -> str:
    """A hash of the first `LEADING_BYTES`; each piece is led by its length, so that pieces cannot run
    together.
    """
    digest = hashlib.blake2b(digest_size=16)
    room = LEADING_BYTES
    for piece in pieces:
        if room <= 0:
            break
        digest.update(b"%d:" % min(len(piece), room))
        digest.update(piece[:room])
        room -= len(piece)
    return digest.hexdigest()


def _decode(decoder: msgspec.json.Decoder[Any], raw: Raw, path: str) -> Any:
    try:
        return decoder.decode(raw)
    except msgspec.DecodeError as error:
        where = ERROR_PATH.search(str(error))
        inner = re.sub(r"\[(?:(\d+)|\.\.\.)\]", r".\1", where[1]) if where else ""
        reason = ERROR_PATH.sub("", str(error)).replace("`", "")
        raise invalid("type_error", path + inner, reason, excerpt(raw)) from error
    except RecursionError as error:
        raise invalid("recursion_loop", path, "Input is nested too deeply", "") from error
