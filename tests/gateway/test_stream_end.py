"""When a stream has said that it is over."""

import pytest

from gateway.stream_end import StreamEnd


@pytest.mark.parametrize("step", [1, 3, 7, 100])
@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b'data: {"text":"a"}\n\ndata: [DONE]\n\n', True),
        (b'data: {"text":"a"}\r\n\r\ndata:[DONE]\r\n\r\n', True),
        (b"data: [DONE]\n\n: more\n\n", True),
        (b'data: {"text":"data: [DONE]\\n"}\n\n', False),
        (b"data: data: [DONE]\n\n", False),
        (b": [DONE]\n\n", False),
        (b"data: [DONE]", False),
    ],
)
def test_done_is_seen_however_the_stream_is_cut(stream: bytes, expected: bool, step: int) -> None:
    end = StreamEnd()
    for start in range(0, len(stream), step):
        end.feed(stream[start : start + step])
    assert end.is_done is expected
