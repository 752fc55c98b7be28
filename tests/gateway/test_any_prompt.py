"""What is believed of a prompt whose API is not known in detail."""

import json
from typing import Any

import pytest
from msgspec import Raw

from gateway import prompt, wire
from gateway.prompt import Prompt


def found(**body: Any) -> Prompt:
    asked = prompt.read_any(wire.read(json.dumps(body).encode()).fields)
    assert asked is not None
    return asked


@pytest.mark.parametrize(
    ("body", "text_bytes", "token_ids", "count"),
    [
        pytest.param({"model": "sim", "input": "hello"}, 5, 0, 1, id="a text"),
        pytest.param({"input": ["hello", "h\u00e9"]}, 8, 0, 1, id="texts, in bytes"),
        pytest.param({"input": [1, 2, 3]}, 0, 3, 1, id="token ids"),
        pytest.param({"input": [[1, 2], [3]]}, 0, 3, 1, id="lists of token ids"),
        pytest.param({"query": "ab", "documents": ["c", {"text": "de"}]}, 5, 0, 1, id="documents"),
        pytest.param({"input": "x", "dimensions": 9, "normalize": True, "a": 1.5, "b": None}, 1, 0, 1, id="no texts"),
        pytest.param({"images": ["data:image/png;base64,AAAA"], "input": "x"}, 1, 0, 1, id="a picture"),
        pytest.param({"messages": [{"content": [{"data": "AAAA"}, {"url": "http://a"}]}]}, 0, 0, 1, id="media"),
        pytest.param({"messages": [[{"content": "ab"}], [{"content": "c"}]]}, 3, 0, 2, id="conversations"),
        pytest.param({}, 0, 0, 1, id="nothing"),
    ],
)
def test_all_texts_and_token_ids_count(body: dict[str, Any], text_bytes: int, token_ids: int, count: int) -> None:
    asked = found(**body)
    assert (asked.text_bytes, asked.token_ids, asked.count) == (text_bytes, token_ids, count)


def test_texts_that_begin_alike_have_one_key() -> None:
    start = "x" * prompt.LEADING_BYTES
    assert found(input=start + "a").key == found(model="sim", input=start + "b").key
    assert found(input="a").key != found(input="b").key
    assert found(input=["a", "b"]).key != found(input=["b", "a"]).key


def test_what_is_nested_too_deeply_is_not_read() -> None:
    assert prompt.read_any({"input": Raw(b"[" * 5000 + b"]" * 5000)}) is None
