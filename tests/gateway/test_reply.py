"""What becomes of an error, by how far the answer has come."""

import math
from typing import Any

import pytest

from gateway.error_shapes import ErrorShape, event_of
from gateway.errors import DeadlineExceededError
from gateway.reply import Reply

ERROR = DeadlineExceededError("too late")
STREAM = [(b"content-type", b"text/event-stream")]


class Sent:
    """The ASGI messages of an answer."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def send(self, message: Any) -> None:
        self.messages.append(message)

    @property
    def bodies(self) -> list[tuple[bytes, bool]]:
        return [(one["body"], one["more_body"]) for one in self.messages if one["type"] == "http.response.body"]


async def test_an_error_in_a_stream_is_its_last_event() -> None:
    reply = Reply((sent := Sent()).send, math.inf)
    await reply.start(200, STREAM, is_event_stream=True)
    await reply.fail(ERROR)
    assert sent.bodies == [(event_of(ERROR, ErrorShape.OPENAI), False)]


@pytest.mark.parametrize("is_event_stream", [False, True])
async def test_an_error_after_the_end_of_an_answer_is_told_to_nobody(is_event_stream: bool) -> None:
    """A deadline may pass while a complete answer is being put away."""
    reply = Reply((sent := Sent()).send, math.inf)
    await reply.start(200, STREAM, is_event_stream=is_event_stream)
    await reply.end(b"data: [DONE]\n\n")
    await reply.fail(ERROR)
    assert sent.bodies == [(b"data: [DONE]\n\n", False)]
