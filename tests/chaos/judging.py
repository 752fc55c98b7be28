"""What is to be thought of an answer, given the one that is right. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from tests.chaos.workload import Asked

DONE = b"[DONE]"
ABORTED = "abort"
QUOTED = 120
_MISSHAPEN = (AttributeError, IndexError, KeyError, TypeError, UnicodeDecodeError)
"""What comes of reading JSON of another shape."""

Ending = Literal["complete", "closed", "reset", "refused", "garbled", "timeout", "left"]
"""How a connection ended: after a whole HTTP answer, closed or reset before that, never made, by what is no HTTP, not
in time, by us."""
Judgment = Literal["whole", "ended", "left", "lost", "silent", "wrong", "hung"]
"""`whole`: all of the right answer. `ended`: a beginning of it, and a clear error. `left`: its client hung up. The
others break a promise. `lost`: nothing of an answer came, whatever the status. `silent`: it broke off and nothing says
so. `wrong`: it was another answer. `hung`: nothing came for longer than any client waits."""


class Observed(NamedTuple):
    """What a client saw of one try: the status (0: none), the body so far, how it ended, and when (monotonic)."""

    status: int
    body: bytes
    ending: Ending
    sent_s: float
    ended_s: float
    first_byte_s: float | None = None


class Verdict(NamedTuple):
    """`why` is empty for what is whole; `tokens` is how many events with text had come, 1 for all of a whole answer."""

    judgment: Judgment
    why: str = ""
    tokens: int = 0


class _Said(msgspec.Struct):
    """What a stream has said so far."""

    text: str = ""
    ids: list[int] = []
    finish_reason: str = ""
    usage: dict[str, Any] | None = None
    error: str = ""
    events: int = 0
    deltas: int = 0
    done: bool = False


class _NotAnAnswerError(Exception):
    """What came is no answer of this API."""


def judge(asked: Asked, seen: Observed) -> Verdict:
    """The verdict on one try."""
    if not seen.status:
        return {
            "left": Verdict("left"),
            "timeout": Verdict("hung", "no answer"),
        }.get(seen.ending, Verdict("lost", f"connection {seen.ending}"))
    if seen.status != 200:
        said = " ".join(seen.body.decode(errors="replace").split())
        return Verdict("lost", f"{seen.status} {said[:QUOTED]}")
    try:
        return _of_stream(asked, seen) if asked.stream else _of_whole(asked, seen)
    except (_NotAnAnswerError, msgspec.MsgspecError, *_MISSHAPEN) as error:
        return Verdict("wrong", f"unreadable: {error}"[:QUOTED])


def _of_whole(asked: Asked, seen: Observed) -> Verdict:
    if seen.ending == "left":
        return Verdict("left")
    if seen.ending == "timeout":
        return Verdict("hung", "its body")
    if seen.ending != "complete":
        return Verdict("silent", f"{len(seen.body)} bytes of its body, then {seen.ending}")
    answer = msgspec.json.decode(seen.body)
    if "error" in answer:
        return Verdict("lost", f"200 {answer['error']}"[:QUOTED])
    choice = answer["choices"][0]
    text = choice["message"]["content"] if "message" in choice else choice["text"]
    said = _Said(text=text, ids=choice.get("token_ids") or [], finish_reason=choice["finish_reason"])
    said.usage = answer["usage"]
    why = _wrong_beginning(asked, said) or _wrong_end(asked, said, wants_usage=True)
    return Verdict("wrong", why) if why else Verdict("whole", tokens=1)


def _of_stream(asked: Asked, seen: Observed) -> Verdict:
    *events, rest = seen.body.split(b"\n\n")
    said = _Said()
    for event in events:
        _hear(said, event)
    if why := _wrong_beginning(asked, said):
        return Verdict("wrong", why, said.deltas)
    if seen.ending in ("left", "timeout"):
        return Verdict("left" if seen.ending == "left" else "hung", f"after {said.deltas} events", said.deltas)
    if seen.ending != "complete" or rest:
        return Verdict("silent", f"after {said.deltas} events: {seen.ending}", said.deltas)
    return _of_ended_stream(asked, said)


def _of_ended_stream(asked: Asked, said: _Said) -> Verdict:
    if said.error:
        if said.events == 1:
            return Verdict("lost", f"nothing but a head and {said.error}"[:QUOTED])
        return Verdict("ended", said.error[:QUOTED], said.deltas)
    if not said.done:
        return Verdict("silent", f"no [DONE] after {said.deltas} events", said.deltas)
    if said.finish_reason == ABORTED:
        return Verdict("ended", "aborted by its rank", said.deltas)
    why = _wrong_end(asked, said, wants_usage=asked.wants_usage)
    return Verdict("wrong", why, said.deltas) if why else Verdict("whole", tokens=said.deltas)


def _hear(said: _Said, event: bytes) -> None:
    if said.done:
        raise _NotAnAnswerError("something came after [DONE]")
    name, _, data = event.partition(b": ")
    if name != b"data":
        raise _NotAnAnswerError(f"no event: {event[:40]!r}")
    if data == DONE:
        said.done = True
        return
    if said.error:
        raise _NotAnAnswerError("an event came after an error")
    document = msgspec.json.decode(data)
    said.events += 1
    if "error" in document:
        error = document["error"]
        said.error = f"{error.get('code')} {error.get('type')}: {error.get('message')}"
        return
    if document.get("usage"):
        said.usage = document["usage"]
    for choice in document["choices"]:
        if said.finish_reason:
            raise _NotAnAnswerError("an event came after the finish reason")
        text = choice["delta"].get("content") or "" if "delta" in choice else choice["text"]
        said.text += text
        said.ids += choice.get("token_ids") or []
        said.deltas += bool(text)
        said.finish_reason = choice["finish_reason"] or ""


def _wrong_beginning(asked: Asked, said: _Said) -> str:
    """Why this is not how the right answer begins; empty if it is."""
    right = asked.expected
    if asked.has_ids and tuple(said.ids) != right.ids[: len(said.ids)]:
        return _difference(said.ids, right.ids)
    if not right.text.startswith(said.text):
        at = next(
            (n for n, pair in enumerate(zip(said.text, right.text, strict=False)) if pair[0] != pair[1]),
            len(right.text),
        )
        return f"other text from character {at} of {len(right.text)} on"
    return ""


def _difference(ids: Sequence[int], right: Sequence[int]) -> str:
    if len(ids) > len(right) and tuple(ids[: len(right)]) == tuple(right):
        return f"{len(ids) - len(right)} tokens too many"
    at = next(n for n, pair in enumerate(zip(ids, right, strict=False)) if pair[0] != pair[1])
    if at and ids[at] == ids[at - 1]:
        return f"token {at} came twice"
    if at + 1 < len(right) and ids[at] == right[at + 1]:
        return f"token {at} is missing"
    return f"token {at} is another one"


def _wrong_end(asked: Asked, said: _Said, *, wants_usage: bool) -> str:
    """Why an answer that says it is complete is not; empty if it is."""
    right = asked.expected
    if said.text != right.text:
        return f"{len(right.text) - len(said.text)} characters are missing"
    if asked.has_ids and len(said.ids) != len(right.ids):
        return f"{len(right.ids) - len(said.ids)} tokens are missing"
    if said.finish_reason != right.finish_reason:
        return f"finish reason {said.finish_reason!r} is not {right.finish_reason!r}"
    if not wants_usage:
        return "a usage that was not asked for" if said.usage else ""
    if said.usage is None:
        return "no usage"
    told = said.usage.get("prompt_tokens"), said.usage.get("completion_tokens")
    return (
        ""
        if told == (right.prompt_tokens, len(right.ids))
        else f"usage {told} is not {right.prompt_tokens, len(right.ids)}"
    )
