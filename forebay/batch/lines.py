"""The lines of a batch: requests as they come in, answers as they go out. Pure.

Both are OpenAI's (platform.openai.com/docs/api-reference/batch/request-input and .../request-output). An answer of the
server's, an error's too, is the `response`; `error` is for requests that got none.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

PATHS = (
    *("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/embeddings", "/pooling"),
    *("/classify", "/score", "/v1/score", "/rerank", "/v1/rerank", "/v2/rerank"),
)
"""What a line may ask for."""
OK = 200
MARK_BYTES = 16
ID_PREFIX = "batch_req_"
LONGEST_REASON = 300


class BadLineError(ValueError):
    """A line of the input that cannot be asked; the message says why."""


class Request(msgspec.Struct, frozen=True):
    """One line of the input; `body` goes to the server as it is."""

    custom_id: Annotated[str, Meta(min_length=1, max_length=65_536)]
    url: str
    body: msgspec.Raw
    method: Literal["POST"] = "POST"


class _Body(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None


class Response(msgspec.Struct, frozen=True):
    """What the server answered."""

    status_code: int
    request_id: str
    body: msgspec.Raw


class Failure(msgspec.Struct, frozen=True):
    """Why there is no answer."""

    code: str
    message: str


class Outcome(msgspec.Struct, frozen=True):
    """One line of the output. `id` is made of the whole line of the input, so that another line has another id."""

    id: str
    custom_id: str
    response: Response | None
    error: Failure | None

    @property
    def is_ok(self) -> bool:
        """Whether it is the answer asked for."""
        return self.response is not None and self.response.status_code == OK


def parse_request(line: bytes) -> tuple[Request, str | None]:
    """The request of a line, and the model it names. Raises BadLineError."""
    try:
        line.decode()
        request = msgspec.json.decode(line, type=Request)
        body = msgspec.json.decode(request.body, type=_Body)
    except UnicodeDecodeError as error:
        raise BadLineError("it is not UTF-8") from error
    except msgspec.ValidationError as error:
        raise BadLineError(str(error)) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadLineError(f"it is not JSON: {error}") from error
    if request.url not in PATHS:
        raise BadLineError(f"url {request.url[:100]!r} is none of {', '.join(PATHS)}")
    if body.stream:
        raise BadLineError("a batch's answers are not streamed, and its body has stream: true")
    return request, body.model


def mark_of(line: bytes) -> bytes:
    """What tells one line from any other."""
    return blake2b(line.strip(), digest_size=MARK_BYTES).digest()


def id_of(mark: bytes) -> str:
    """The `id` of the output's line for the input's line with this mark."""
    return f"{ID_PREFIX}{mark.hex()}"


def reason_of(outcome: Outcome) -> str:
    """Why it is not the answer asked for, in one line."""
    if outcome.response is None:
        return f"{outcome.error.code}: {outcome.error.message}" if outcome.error else "no answer"
    try:
        words = msgspec.json.decode(outcome.response.body, type=_ErrorBody).message
    except msgspec.DecodeError:
        words = bytes(outcome.response.body).decode(errors="replace")
    return f"status {outcome.response.status_code}: {' '.join(words[:LONGEST_REASON].split())}"


class _Error(msgspec.Struct):
    message: str


class _ErrorBody(msgspec.Struct):
    error: _Error

    @property
    def message(self) -> str:
        return self.error.message
