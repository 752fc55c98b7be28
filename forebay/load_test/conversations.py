"""Files of conversations: ShareGPT's, as the JSON array that is published or a line each, chats, and bare prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import msgspec

from forebay.load_test.settings import Count
from simulator.cluster.workloads.errors import TraceError

TRACE_MARK = b'"input_length"'
CHARACTERS_PER_TOKEN = 4
"""Of recorded answers, whose tokens nobody has counted."""
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


class Conversation(msgspec.Struct, frozen=True):
    """What is sent, and how long the recorded answer was; 0 if there was none."""

    messages: list[dict[str, str]]
    output_tokens: int


class _Turn(msgspec.Struct, rename={"speaker": "from"}):
    value: str
    speaker: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str


class _Record(msgspec.Struct):
    conversations: list[_Turn] | None = None
    messages: list[_Message] | None = None
    prompt: str | None = None
    output_tokens: Count = 0


def is_conversations(path: Path) -> bool:
    """Whether the file is of this kind, by its first line. Raises TraceError."""
    try:
        with path.open("rb") as file:
            first = file.readline(1 << 16).lstrip()
    except OSError as error:
        raise TraceError(str(path), None, error.strerror or str(error)) from error
    return first.startswith(b"[") or (first.startswith(b"{") and TRACE_MARK not in first)


def conversations(path: Path) -> Iterator[Conversation]:
    """Those that begin with something said to the model. Raises TraceError naming the line."""
    with path.open("rb") as file:
        first = file.readline()
        if first.lstrip().startswith(b"["):
            records: Iterable[tuple[int | None, _Record]] = _array(path, first + file.read())
        else:
            records = _lines(path, chain([first], file))
        for line, record in records:
            found = _conversation(record)
            if found is not None:
                yield found
            elif line is not None and record.conversations is None:
                raise TraceError(str(path), line, "expected `conversations`, `messages` or `prompt` with a text in it")


def _array(path: Path, content: bytes) -> Iterator[tuple[None, _Record]]:
    try:
        records = msgspec.json.decode(content, type=list[_Record])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TraceError(str(path), None, str(error)) from error
    for record in records:
        yield None, record


def _lines(path: Path, lines: Iterable[bytes]) -> Iterator[tuple[int, _Record]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield number, msgspec.json.decode(line, type=_Record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise TraceError(str(path), number, str(error)) from error


def _conversation(record: _Record) -> Conversation | None:
    if record.prompt:
        return Conversation([{"role": "user", "content": record.prompt}], record.output_tokens)
    if record.messages is not None:
        messages = [(each.role, each.content) for each in record.messages]
    else:
        messages = [(ROLES.get(turn.speaker, "user"), turn.value) for turn in record.conversations or ()]
    asked = next((index for index, (role, _) in enumerate(messages) if role == "user"), None)
    if asked is None or not messages[asked][1]:
        return None
    sent = messages[: asked + 1] if record.messages is None else _to_the_last_question(messages)
    answer = messages[len(sent)][1] if len(messages) > len(sent) else ""
    tokens = record.output_tokens or -(-len(answer) // CHARACTERS_PER_TOKEN)
    return Conversation([{"role": role, "content": text} for role, text in sent], tokens)


def _to_the_last_question(messages: list[tuple[str, str]]) -> list[tuple[str, str]]:
    last = max(index for index, (role, _) in enumerate(messages) if role == "user")
    return messages[: last + 1]
