"""The APIs an engine works for, by their paths."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from simulator.api_errors import bad_request
from simulator.apis import (
    audio,
    chat,
    chat_batch,
    completions,
    generate,
    messages,
    pooling,
    response_routes,
    scoring,
)
from simulator.apis.audio_body import AudioBody, TranslationBody
from simulator.apis.chat_batch import ChatBatchBody
from simulator.apis.chat_body import ChatBody
from simulator.apis.completion_body import CompletionBody
from simulator.apis.generate_body import GenerateBody
from simulator.apis.messages_body import MessagesBody
from simulator.apis.pooling_body import (
    ClassificationBody,
    CohereEmbeddingsBody,
    EmbeddingsBody,
    GenerativeScoreBody,
    PoolingBody,
    RerankBody,
    ScoreBody,
)
from simulator.exchange import Exchange, Request
from simulator.rank import Rank
from simulator.serving import Api, json_of, serve
from simulator.sim_routes import Route


def _form(request: Request) -> dict[str, Any]:
    return audio.form(request.body, request.headers.get("content-type"))


_COMPLETIONS: Final = Api(completions.read, CompletionBody, has_min_tokens=True)
_CHAT: Final = Api(chat.read, ChatBody, has_min_tokens=True)
_EMBEDDINGS: Final = Api(pooling.embeddings, EmbeddingsBody)
_CLASSIFY: Final = Api(pooling.classification, ClassificationBody)
_SCORE: Final = Api(scoring.score, ScoreBody)
_RERANK: Final = Api(scoring.rerank, RerankBody)

APIS: Final[Mapping[str, Api]] = {
    "/v1/completions": _COMPLETIONS,
    "/v1/chat/completions": _CHAT,
    "/v1/chat/completions/batch": Api(chat_batch.read, ChatBatchBody),
    "/v1/messages": Api(messages.read, MessagesBody, refusal=messages.refusal),
    "/inference/v1/generate": Api(generate.read, GenerateBody, frees_kv=False, has_min_tokens=True),
    "/v1/embeddings": _EMBEDDINGS,
    "/v2/embed": Api(pooling.cohere_embeddings, CohereEmbeddingsBody),
    "/pooling": Api(pooling.pooling, PoolingBody),
    "/classify": _CLASSIFY,
    "/score": _SCORE,
    "/v1/score": _SCORE,
    "/rerank": _RERANK,
    "/v1/rerank": _RERANK,
    "/v2/rerank": _RERANK,
    "/generative_scoring": Api(scoring.generative, GenerativeScoreBody),
    "/v1/audio/transcriptions": Api(partial(audio.read, "transcribe"), AudioBody, receive=_form),
    "/v1/audio/translations": Api(partial(audio.read, "translate"), TranslationBody, receive=_form),
}

_INVOKED: Final = (
    ("messages", _CHAT),
    ("prompt", _COMPLETIONS),
    ("input", _EMBEDDINGS),
    ("query", _RERANK),
    ("queries", _SCORE),
    ("text_1", _SCORE),
)
"""Which API a body of /invocations is for, by a field that it has."""


def _invoke(rank: Rank, request: Request, exchange: Exchange) -> None:
    """/invocations: whichever API the body is for; raises ApiError."""
    body = json_of(request)
    api = next((api for field, api in _INVOKED if body.get(field) is not None), None)
    if api is None:
        raise bad_request("Cannot find suitable handler for request.")
    serve(api, rank, request, exchange)


ROUTES: Final[Mapping[str, Mapping[str, Route]]] = {
    **{path: {"POST": partial(serve, api)} for path, api in APIS.items()},
    "/v1/responses": {"POST": response_routes.create},
    "/invocations": {"POST": _invoke},
}
