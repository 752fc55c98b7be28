"""How large a prompt is and how it begins. Pure.

Size is in bytes of UTF-8 text, or in ids where the client sends token ids. Tools, tool calls and documents count as the
JSON they are. Role names and template marks do not count: they are part of the learned bytes per token. Nor do parts
without a `text`, such as pictures, in `data:` URLs or elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec
from msgspec import Raw

from gateway import conversation, rendering
from gateway.blocks import BLOCK_BYTES, BLOCK_IDS, Transcript, blocks_of_ids
from gateway.conversation import Mark
from gateway.wire import NULL, Api, Fields

LEADING_BYTES = 2048
"""How much of a prompt its key covers: about the 512 tokens that conversations with one system prompt share."""

LEADING_IDS = 512
"""The same for a prompt of token ids."""

PART_BYTES = 2048
"""How much of each end of a media part counts for the key."""


NO_TEXT = frozenset({"model", "data", "url"})
"""Keys of what is no part of a prompt, or a picture or a sound."""

_Part = dict[str, Any]


class _Message(msgspec.Struct):
    role: str
    content: str | list[str | _Part] | None = None
    tool_calls: Raw = Raw()


MESSAGES_DECODER = msgspec.json.Decoder(list[_Message])
ANY_DECODER = msgspec.json.Decoder()
PROMPTS_DECODER = msgspec.json.Decoder(str | list[str | int | list[int]] | None)


IDS_DECODER = msgspec.json.Decoder(list[int])


class Prompt(msgspec.Struct, frozen=True):
    """What is known of a prompt before it is tokenised.

    `text_bytes` of text and `token_ids` given as ids, over all `count` prompts of the request. `key` is equal for
    prompts that begin alike (the first `LEADING_BYTES` or `LEADING_IDS` of the first prompt), whatever the JSON around
    them looks like. `blocks` are all that the first prompt begins with (blocks.py); none where the API is not known.
    """

    text_bytes: int
    token_ids: int
    count: int
    key: str
    blocks: tuple[bytes, ...] = ()

    @property
    def block_share(self) -> float:
        """What one of the blocks is of the whole size."""
        return BLOCK_BYTES / self.text_bytes if self.text_bytes else BLOCK_IDS / max(1, self.token_ids)


def read(api: Api, fields: Fields) -> Prompt | None:
    """The prompt of a request's fields; None where there is none, or none that can be read."""
    try:
        match api:
            case Api.CHAT:
                return _chat(fields)
            case Api.COMPLETIONS:
                return _completion(fields)
            case Api.MESSAGES | Api.RESPONSES:
                return _conversation(api, fields)
            case Api.GENERATE:
                return _ids(fields, [IDS_DECODER.decode(fields.get("token_ids", NULL))])
    except (msgspec.DecodeError, RecursionError):
        return None


def read_any(fields: Fields) -> Prompt | None:
    """The prompt of an API that is not known in detail: all texts in it, and the numbers in lists as token ids.

    Where conversations stand in a list, each is a prompt. What names the model or may be media does not count.
    """
    try:
        values = [ANY_DECODER.decode(value) for name, value in fields.items() if name not in NO_TEXT]
        messages = ANY_DECODER.decode(fields.get("messages", NULL))
    except (msgspec.DecodeError, RecursionError):
        return None
    text_bytes = token_ids = 0
    key = _Key()
    for value in _leaves(values):
        if isinstance(value, int):
            token_ids += value
        elif not value.startswith("data:"):
            text = value.encode()
            text_bytes += len(text)
            key.add(text)
    conversations = [one for one in messages if isinstance(one, list)] if isinstance(messages, list) else []
    return Prompt(text_bytes, token_ids, max(1, len(conversations)), key.hexdigest())


def _leaves(values: Sequence[Any]) -> Iterator[str | int]:
    """All texts, in order, and of each list how many integers are in it."""
    left = list(reversed(values))
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield sum(type(one) is int for one in value)
            left.extend(one for one in reversed(value) if isinstance(one, str | list | dict))
        elif isinstance(value, dict):
            left.extend(value[name] for name in reversed(value) if name not in NO_TEXT)


def _chat(fields: Fields) -> Prompt:
    messages = MESSAGES_DECODER.decode(fields.get("messages", NULL))
    text_bytes = len(fields.get("tools", b"")) + rendering.given_bytes(fields.get("documents", NULL))
    key, transcript = _Key(), _transcript(fields)
    _call(transcript, fields.get("documents", NULL))
    for message in messages:
        role = message.role.encode()
        key.add(role)
        transcript.mark(role)
        text_bytes += len(message.tool_calls)
        for said in _said(message.content):
            if isinstance(said, str):
                text = said.encode()
                text_bytes += len(text)
                key.add(text)
                transcript.say(text)
            else:
                part = _ends(msgspec.json.encode(said, order="sorted"))
                key.add(part)
                transcript.mark(part)
        _call(transcript, message.tool_calls)
    blocks = transcript.blocks() if rendering.keeps_beginning(fields, text_bytes) else ()
    return Prompt(text_bytes, 0, 1, key.hexdigest(), blocks)


def _conversation(api: Api, fields: Fields) -> Prompt:
    text_bytes = len(fields.get("tools", b""))
    key, transcript = _Key(), _transcript(fields)
    for said in conversation.said(api, fields):
        if isinstance(said, Mark):
            sign = _ends(said.sign)
            key.add(sign)
            transcript.mark(sign)
        else:
            text = said.encode()
            text_bytes += len(text)
            key.add(text)
            transcript.say(text)
    return Prompt(text_bytes, 0, 1, key.hexdigest(), transcript.blocks())


def _transcript(fields: Fields) -> Transcript:
    """One that begins with the tools, as templates do."""
    transcript = Transcript(rendering.seed(fields, special_tokens=b"false"))
    _call(transcript, fields.get("tools", Raw()))
    return transcript


def _call(transcript: Transcript, tools: Raw) -> None:
    """Adds the JSON of tools, tool calls or documents, whatever its spelling."""
    if rendering.given_bytes(tools):
        transcript.say(rendering.canonical(tools))


def _said(content: str | list[str | _Part] | None) -> Iterator[str | _Part]:
    """What a message says, in order: texts, and parts that are none."""
    if isinstance(content, str):
        yield content
    for part in content if isinstance(content, list) else ():
        text = part if isinstance(part, str) else part.get("text")
        yield text if isinstance(text, str) else cast("_Part", part)


def _ends(part: bytes) -> bytes:
    if len(part) <= 2 * PART_BYTES:
        return part
    return b"%d:%b%b" % (len(part), part[:PART_BYTES], part[-PART_BYTES:])


def _completion(fields: Fields) -> Prompt | None:
    prompts = PROMPTS_DECODER.decode(fields.get("prompt", NULL))
    if prompts is None:
        return None if bytes(fields.get("prompt_embeds", NULL)) == b"null" else _texts(fields, [])
    if isinstance(prompts, str):
        return _texts(fields, [prompts])
    kinds = {type(prompt) for prompt in prompts}
    if len(kinds) > 1:
        return None
    if kinds == {int}:
        return _ids(fields, [prompts])
    return _ids(fields, prompts) if kinds == {list} else _texts(fields, prompts)


def _texts(fields: Fields, texts: Sequence[str]) -> Prompt:
    key, transcript = _Key(), Transcript(rendering.seed(fields, special_tokens=b"true"))
    encoded = [text.encode() for text in texts]
    for text in encoded[:1]:
        key.add(text)
        transcript.say(text)
    is_whole = rendering.keeps_beginning(fields, sum(map(len, encoded[:1])))
    blocks = transcript.blocks() if is_whole else ()
    return Prompt(sum(map(len, encoded)), 0, max(1, len(texts)), key.hexdigest(), blocks)


def _ids(fields: Fields, prompts: Sequence[Sequence[int]]) -> Prompt:
    prompts = [rendering.left_of(fields, prompt) for prompt in prompts]
    leading = " ".join(map(str, prompts[0][:LEADING_IDS])).encode()
    key = hashlib.blake2b(leading, digest_size=16).hexdigest()
    seed = rendering.seed({"cache_salt": fields.get("cache_salt", NULL)}, special_tokens=b"")
    return Prompt(0, sum(map(len, prompts)), len(prompts), key, blocks_of_ids(prompts[0], seed))


class _Key:
    """A hash of the first `LEADING_BYTES`; each piece is led by its length, so that pieces cannot run together."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._room = LEADING_BYTES

    @property
    def is_full(self) -> bool:
        """Whether nothing that is added matters any more."""
        return self._room <= 0

    def add(self, piece: bytes) -> None:
        if self.is_full:
            return
        self._digest.update(b"%d:" % min(len(piece), self._room))
        self._digest.update(piece[: self._room])
        self._room -= len(piece)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()
