"""What the beginning of a stream is taken for, and what a whole answer."""

import pytest

from gateway.dialects.apis import CHOICES
from gateway.dialects.dialect import Opening
from gateway.opening import is_error, opening_of

SILENT = (
    b": keep-alive\n\n",
    b"\n\n",
    b"event: x\n\n",
    b"data:\n\n",
    b"data: null\n\n",
    b"data: {}\n\n",
    b'data: {"choices":[]}\n\n',
    b'data: {"choices":null}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":5}}\n\n',
    b'data: {"choices":[{"index":0,"text":"","finish_reason":null}]}\n\n',
    b'data: {"choices":[{"delta":{"role":"assistant","content":""}}],"prompt_token_ids":[1,2]}\n\n',
    b'data: {"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":[]}}],"error":null}\n\n',
    b'data: {"choices":[{"delta":{}}]}\n\n',
)
MANY = 1 << 16
GOOD = (
    b'data: {"choices":[' + b"{}," * MANY + b"{}]}\n\n",
    b'data: {"choices":[{"text":"x"}]}\n\n',
    b'data: {"choices":[{"text":"","finish_reason":"length"}]}\n\n',
    b'data: {"choices":[{"text":"","token_ids":[7]}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n',
    b'data: {"choices":[{"delta":{"role":"assistant","reasoning":"x"}}]}\n\n',
    b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\n\n',
    b'data: {"choices":[{"text":NaN}]}\n\n',
    b"data: [1]\n\n",
)
ENDED = b"data: [DONE]\n\n"
ERROR = (
    b'data: {"error":{"code":500}}\n\n',
    b'data: {"choices":[{"text":"x"}],"error":{"code":500}}\n\n',
    b'data: {"error":\ndata: {"code":500}}\n\n',
    b'event: error\r\ndata: {"error":"x"}\r\n\r\n',
    b"data: x\n\n",
    b'data: {"choices":[{"text":"x"\n\n',
    b"data: <html>\n\n",
)


@pytest.mark.parametrize("events", SILENT)
def test_an_event_without_a_token_says_nothing_yet(events: bytes) -> None:
    assert opening_of(events, CHOICES) is Opening.SILENT


@pytest.mark.parametrize("events", GOOD)
def test_with_its_first_token_a_stream_has_begun(events: bytes) -> None:
    assert opening_of(b"".join(SILENT) + events + ERROR[0], CHOICES) is Opening.GOOD


@pytest.mark.parametrize("events", ERROR)
def test_an_error_before_the_first_token_is_one(events: bytes) -> None:
    assert opening_of(b"".join(SILENT) + events + GOOD[0], CHOICES) is Opening.ERROR


def test_the_end_before_the_first_token_is_one() -> None:
    assert opening_of(b"".join(SILENT) + ENDED + GOOD[0], CHOICES) is Opening.ENDED


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error":{"code":500}}', True), (b'{"error":null,"choices":[]}', False), (b'{"error":"x"}', False),
        (b'{"choices":[{"error":{}}]}', False), (b'["error"]', False), (b'{"error"', False), (b"", False),
    ],
)  # fmt: skip
def test_a_whole_answer_is_an_error_by_its_top_level(body: bytes, expected: bool) -> None:
    assert is_error(body) is expected
