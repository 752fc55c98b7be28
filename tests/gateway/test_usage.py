"""Reading the usage an engine reports, from real answers."""

from pathlib import Path

import pytest

from gateway import usage
from gateway.usage import Usage

CAPTURES = Path(__file__).parent.parent / "data" / "vllm" / "http"


def body_of(name: str) -> bytes:
    """The body of a captured answer, without its chunk framing."""
    raw = (CAPTURES / f"{name}.http").read_bytes()
    _, _, answer = raw.partition(b"### response (raw bytes, incl. HTTP chunk framing)\n")
    head, _, rest = answer.partition(b"\r\n\r\n")
    rest, _, _ = rest.rpartition(b"\n### recv() timing")
    if b"transfer-encoding: chunked" not in head:
        return rest
    parts = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        parts.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
        if not parts[-1]:
            break
    return b"".join(parts)


def test_an_answer_reports_its_usage() -> None:
    assert usage.of_body(body_of("chat")) == Usage(22, 8)
    assert usage.of_body(body_of("completion_two_prompts")) is not None


def test_a_stream_reports_its_usage_where_it_was_asked_to() -> None:
    assert usage.of_events(body_of("chat_stream_usage")) == Usage(22, 8)
    assert usage.of_events(body_of("chat_stream")) is None


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"usage":null}', b'{"usage":{}}', b'{"usage":{"prompt_tokens":"x"}}', b'{"\xff":1}']
)
def test_what_reports_no_usage_has_none(body: bytes) -> None:
    assert usage.of_body(body) is None
    assert usage.of_events(b"data: " + body + b"\n\ndata: [DONE]\n\n") is None
