"""What happens to each path that vLLM serves: one table, by kind. Pure.

A path that is neither here nor one of the gateway's own (app.py) is a 404, a method that is not here a 405. Those under
`Kind.ADMIN` want the admin key, all others a client's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from gateway.wire import Api


class Kind(StrEnum):
    """What happens to a request; the value is what the API's docs say of it."""

    PAIRABLE = "Placed on one rank, or on a prefill and a decode rank where that pays; streamed or not."
    """Its prompt is understood (prompt.py, pairable.py)."""

    GENERATING = "Placed on one rank, as the generation it is; streamed or not."
    """All its texts count as prompt, and each conversation gets an answer."""

    COMPUTING = "Placed on one rank, by the length of its texts."
    """There is no output to speak of."""

    COUNTING = "Sent to any rank that answers: it costs no engine time to speak of."

    STICKY = "Sent to the rank that keeps the response."
    """It is not placed."""

    UPLOADING = "A form with an audio file, placed on one rank and passed on while it comes; `model` before the file."

    ADMIN = "Sent to every rank of `?pool=` (all pools: `*`); answered with what each said."

    TUNNELLING = "A WebSocket: placed on one rank of `?model=`, and passed on in both directions."

    @property
    def generates(self) -> bool:
        """Whether its answer is one of completions, with choices and a usage."""
        return self in (Kind.PAIRABLE, Kind.GENERATING)


SAGEMAKER = "/invocations"
"""Takes the bodies of several other routes, chat and completions among them."""


class Route(NamedTuple):
    """One path. `api` says how its prompt is read and split, where it is."""

    path: str
    kind: Kind
    method: str = "POST"
    api: Api | None = None

    @property
    def tells_usage_if_asked(self) -> bool:
        """Whether its streams end with their usage only where `stream_options` ask for it."""
        return self.api in (Api.CHAT, Api.COMPLETIONS, Api.GENERATE) or self.path == SAGEMAKER

    @property
    def learned_as(self) -> str:
        """Under which name the length of its answers is learned."""
        return self.api or self.path


REALTIME = "/v1/realtime"

PATHS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        Kind.GENERATING: ("/v1/chat/completions/batch", "/cohere/v2/chat", SAGEMAKER),
        Kind.COMPUTING: (
            "/v1/embeddings", "/v2/embed", "/pooling", "/classify", "/score", "/v1/score", "/rerank", "/v1/rerank",
            "/v2/rerank", "/generative_scoring", "/v1/systemone",
        ),
        Kind.COUNTING: (
            "/tokenize", "/detokenize", "/v1/messages/count_tokens",
            "/v1/chat/completions/render", "/v1/completions/render", "/v1/messages/render", "/v1/responses/render",
            "/v1/chat/completions/derender", "/v1/completions/derender",
        ),
        Kind.UPLOADING: ("/v1/audio/transcriptions", "/v1/audio/translations"),
        Kind.ADMIN: (
            "/v1/load_lora_adapter", "/v1/unload_lora_adapter",
            "/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache",
            "/start_profile", "/stop_profile",
            "/sleep", "/wake_up", "/pause", "/resume",
            "/inference/v1/abort_requests",
        ),
    }
)  # fmt: skip
"""What is POSTed and has no API of its own here."""

ROUTES: tuple[Route, ...] = (
    Route("/v1/chat/completions", Kind.PAIRABLE, api=Api.CHAT),
    Route("/v1/completions", Kind.PAIRABLE, api=Api.COMPLETIONS),
    Route("/v1/responses", Kind.PAIRABLE, api=Api.RESPONSES),
    Route("/v1/messages", Kind.PAIRABLE, api=Api.MESSAGES),
    Route("/inference/v1/generate", Kind.PAIRABLE, api=Api.GENERATE),
    *(Route(path, kind) for kind, paths in PATHS.items() for path in paths),
    Route("/tokenizer_info", Kind.COUNTING, "GET"),
    Route("/v1/responses/{response_id}", Kind.STICKY, "GET"),
    Route("/v1/responses/{response_id}/cancel", Kind.STICKY),
    Route("/is_sleeping", Kind.ADMIN, "GET"),
    Route("/is_paused", Kind.ADMIN, "GET"),
    Route(REALTIME, Kind.TUNNELLING, "GET"),
)

OF_A_RESPONSE = re.compile(r"/v1/responses/[^/]+((?:/cancel)?)")


def template_of(path: str) -> str:
    """The path as `ROUTES` has it where a part of it is an id; any other as it is."""
    found = OF_A_RESPONSE.fullmatch(path)
    return f"/v1/responses/{{response_id}}{found[1]}" if found else path


SITE_PATHS: Mapping[str, str] = MappingProxyType(
    {"/healthcheck": "GET", "/instances/add": "POST", "/instances/remove": "POST"}
)
"""What the gateway's site answers (site.py), with the method."""

ADMIN_PATHS = frozenset(route.path for route in ROUTES if route.kind is Kind.ADMIN) | {
    path for path, method in SITE_PATHS.items() if method == "POST"
}
CLIENT_PATHS = frozenset(route.path for route in ROUTES) - ADMIN_PATHS
