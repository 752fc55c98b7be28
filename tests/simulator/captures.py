"""Answers captured from vLLM 0.32.0 (tests/data/vllm), and the shape of JSON."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from tests.simulator.rank_process import Reply, parse

DATA = Path(__file__).parent.parent / "data" / "vllm"
FOLDER = DATA / "http"
APIS = DATA / "apis"
_LONG_TEXT = "hello world " * 3000
_CUT = re.compile(rb"\.\.\.<cut \d+ bytes>$")


class Capture(NamedTuple):
    """A request as it was sent, and the answer."""

    request: bytes
    reply: Reply


class Answered(NamedTuple):
    """One of several answers kept in one file: without head or framing. `request` is None where it is too long."""

    name: str
    server: str
    path: str
    request: dict[str, Any] | None
    reply: Reply

    @property
    def label(self) -> str:
        return f"{self.server} {self.path} {self.name}"


def answered(file: str) -> list[Answered]:
    """The answers of a file in tests/data/vllm/answers."""
    return [
        Answered(row["name"], row["server"], row["path"], row["request"], Reply(row["status"], [], body, [body]))
        for row in values(file)
        for body in [row["body"].encode()]
    ]


def values(file: str) -> list[dict[str, Any]]:
    """The rows of such a file as they are."""
    found = json.loads((DATA / "answers" / f"{file}.json").read_text())
    assert isinstance(found, list)
    return found


def names(prefix: str, folder: Path = FOLDER) -> list[str]:
    return sorted(path.stem for path in folder.glob(f"{prefix}*.http"))


def load(name: str, folder: Path = FOLDER) -> Capture:
    raw = (folder / f"{name}.http").read_bytes()
    asked, _, rest = raw.removeprefix(b"### request\n").partition(
        b"\n### response (raw bytes, incl. HTTP chunk framing)\n"
    )
    answered, _, _ = rest.rpartition(b"\n### recv() timing")
    return Capture(_whole(asked), parse(answered))


def _whole(request: bytes) -> bytes:
    """The capture cut long prompts short; the repetition goes on."""
    if not _CUT.search(request):
        return request
    head, _, body = request.partition(b"\r\n\r\n")
    body = _CUT.sub(b"", body)
    if b"hello world" in body:
        start = body[: body.index(b"hello world")]
        tail = b'"}], "max_tokens": 8, "temperature": 0, "stream": true}' if b"messages" in body else b'"}'
        body = start + _LONG_TEXT.encode() + tail
    else:
        body = b'{"prompt": [' + b"5, " * 2999 + b"5]}"
    return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head) + b"\r\n\r\n" + body


_MAPS = ("top_logprobs", "prompt_logprobs", "top")


def shape(value: Any, key: str = "") -> Any:
    """Keys in order and types; lists by the shapes they hold, in order of appearance; numbers are one type."""
    if isinstance(value, dict):
        if key in _MAPS:
            return ("map", [shape(each) for each in value.values()][:1])
        return [(name, shape(each, name)) for name, each in value.items()]
    if isinstance(value, list):
        kinds: list[Any] = []
        for each in value:
            if (kind := shape(each, key)) not in kinds:
                kinds.append(kind)
        return ("list", kinds)
    if isinstance(value, bool) or value is None:
        return value
    return "number" if isinstance(value, int | float) else "string"


def assert_streamed_alike(ours: list[Any], theirs: list[Any]) -> None:
    """Events of a stream have the shapes of captured ones, from the first to the last.

    Ours may be joined: a rank that wakes late sends the tokens that have come since in one event, as vLLM does.
    """
    found, allowed = ([shape(event) for event in events] for events in (ours, theirs))
    firsts = allowed[:1]
    with_tokens = [event for event in theirs if event.get("choices") and "token_ids" in event["choices"][0]]
    if with_tokens:
        joined = shape(_joined(with_tokens[0], with_tokens[-1]))
        allowed.append(joined)
        firsts += [joined] if with_tokens[0] is theirs[0] else []
    assert found[0] in firsts
    assert found[-1] in (shape(theirs[-1]), *(firsts if len(found) == 1 else ()))
    assert all(event in allowed for event in found)


def _joined(first: Any, last: Any) -> Any:
    """One event that begins as the first and ends as the last."""
    said = {name: value for name, value in last["choices"][0].items() if value is not None}
    return {**first, "choices": [{**first["choices"][0], **said}]}
