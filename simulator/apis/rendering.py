"""Rendering: what a request of another API is for /inference/v1/generate, and how that one's answer reads as a chat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import uuid4

from simulator import tokens, validation
from simulator.api_errors import ApiError, problem, repeatable, schema_error
from simulator.apis import chat, completions, messages, responses
from simulator.exchange import Exchange, Request
from simulator.field_types import integer, integers, mapping, number, whole_numbers
from simulator.generation import Generation
from simulator.rank import Rank, wall_clock_s
from simulator.settings import RankSettings
from simulator.sim_routes import Route
from simulator.usage import Usage

Read = Callable[[Mapping[str, Any], RankSettings], Generation]
_DRAWN: Final[Mapping[str, float]] = {
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
    "temperature": 1.0,
    "top_p": 1.0,
    "min_p": 0.0,
}
_SAMPLED: Final = ("min_tokens", "ignore_eos")


def render(read: Read, *, many: bool = False) -> Route:
    """A route that answers with the request as ids, one for each prompt if there may be `many`."""

    def route(rank: Rank, request: Request, exchange: Exchange) -> None:
        data = validation.read_json(request.body, request.headers.get("content-type"))
        validation.check(data, dict.fromkeys(_DRAWN, number))
        generation = read(data, rank.settings)
        name = uuid4().hex[:16]
        prefix = generation.id_prefix or "resp_"
        found = [
            _generate_request(f"{prefix}{name}", prompt.ids, limit, data, rank.settings)
            for prompt, limit in zip(generation.prompts, generation.max_tokens, strict=True)
        ]
        exchange.respond(200, repeatable(found if many else found[0]))

    return route


def _render_messages(rank: Rank, request: Request, exchange: Exchange) -> None:
    try:
        render(messages.read)(rank, request, exchange)
    except ApiError as error:
        raise messages.refusal(error) from None


def _alone(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    return responses.read(lambda _: None, data, settings)


def _generate_request(
    request_id: str, ids: list[int], max_tokens: int, data: Mapping[str, Any], settings: RankSettings
) -> dict[str, Any]:
    return {
        "request_id": request_id,
        "token_ids": ids,
        "token_offsets": None,
        "features": None,
        "content_parts": None,
        "sampling_params": _sampling(data, max_tokens),
        "model": settings.model,
        "reasoning_ended": None,
        "reasoning_parser_kwargs": None,
        "return_token_ids": None,
        "output_mode": "tokens",
        "stream": bool(data.get("stream")),
        "stream_options": data.get("stream_options"),
        "cache_salt": data.get("cache_salt"),
        "priority": 0,
        "kv_transfer_params": data.get("kv_transfer_params"),
        "ec_transfer_params": None,
    }


def _sampling(data: Mapping[str, Any], max_tokens: int) -> dict[str, Any]:
    """As vLLM writes its own sampling parameters: of greedy ones, what changes nothing is left out."""
    stop = data.get("stop") or data.get("stop_sequences") or []
    given = {name: data[name] for name in (*_DRAWN, *_SAMPLED) if data.get(name) is not None}
    drawn = {name: float(given.get(name, default)) for name, default in _DRAWN.items()}
    if not drawn["temperature"]:
        del drawn["top_p"], drawn["min_p"]
    return {
        **drawn,
        **{name: given[name] for name in _SAMPLED if name in given},
        "stop": [stop] if isinstance(stop, str) else stop,
        "stop_token_ids": data.get("stop_token_ids") or [],
        "max_tokens": max_tokens,
        "output_kind": 1 if data.get("stream") else 2,
        "skip_clone": True,
        **({"extra_args": {}} if "input" in data else {}),
        "bad_words": [],
        "skip_reading_prefix_cache": False,
    }


def derender_chat(rank: Rank, request: Request, exchange: Exchange) -> None:
    """/v1/chat/completions/derender: the ids of a whole answer as a chat's; raises ApiError."""
    data = validation.read_json(request.body, request.headers.get("content-type"))
    answer = data.get("generate_response")
    if answer is None:
        raise schema_error([problem("missing", "body.generate_response", "Field required", data)])
    validation.check(data, {"prompt_tokens": integer})
    choices = _choices(answer)
    usage = Usage(int(data.get("prompt_tokens") or 0), sum(len(each["token_ids"]) for each in choices), 0, 0)
    found = {
        "id": answer.get("request_id"),
        "object": "chat.completion",
        "created": int(wall_clock_s()),
        "model": rank.settings.model,
        "choices": [_chat_choice(at, each) for at, each in enumerate(choices)],
        "service_tier": None,
        "system_fingerprint": None,
        "usage": usage.shown(),
    }
    nulls = (
        "prompt_logprobs",
        "prompt_token_ids",
        "prompt_text",
        "kv_transfer_params",
        "ec_transfer_params",
        "metrics",
    )
    exchange.respond(200, repeatable({**found, **dict.fromkeys(nulls)}))


def _choices(answer: Any) -> list[dict[str, Any]]:
    loc = "body.generate_response"
    wrong = mapping(answer, loc)
    choices = [] if wrong else answer.get("choices")
    if not wrong and not isinstance(choices, list):
        wrong = [problem("list_type", f"{loc}.choices", "Input should be a valid list", choices)]
    for at, each in enumerate(choices if isinstance(choices, list) else ()):
        place = f"{loc}.choices.{at}"
        wrong += mapping(each, place) or integers(each.get("token_ids"), f"{place}.token_ids")
    if wrong:
        raise schema_error(wrong)
    return list(choices)


def _chat_choice(index: int, choice: Mapping[str, Any]) -> dict[str, Any]:
    ids = whole_numbers(choice["token_ids"])
    text = tokens.decode(int(each) for each in ids if each != tokens.END and tokens.first_unknown([int(each)]) is None)
    nothing = ("refusal", "annotations", "audio", "function_call", "reasoning")
    return {
        "index": index,
        "message": {"role": "assistant", "content": text, **dict.fromkeys(nothing)},
        "logprobs": None,
        "finish_reason": choice.get("finish_reason"),
        "stop_reason": choice.get("stop_reason"),
        "token_ids": None,
        "routed_experts": None,
    }


ROUTES: Final[Mapping[str, Mapping[str, Route]]] = {
    "/v1/completions/render": {"POST": render(completions.read, many=True)},
    "/v1/chat/completions/render": {"POST": render(chat.read)},
    "/v1/messages/render": {"POST": _render_messages},
    "/v1/responses/render": {"POST": render(_alone)},
    "/v1/chat/completions/derender": {"POST": derender_chat},
}
