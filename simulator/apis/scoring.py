"""What scores and ranks ask for: texts to be likened, each computed once. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from simulator import tokens
from simulator.api_errors import ApiError, bad_request, problem, schema_error
from simulator.apis.pooling import check_fields, computed
from simulator.field_types import integer, integers, one_or_many_strings, string, whole_numbers
from simulator.generation import Generation, check_model
from simulator.prompt import Prompt, output_limits, text_prompt
from simulator.settings import RankSettings
from simulator.validation import Fields, check

_PAIRS: Final = (("queries", "documents"), ("queries", "items"), ("data_1", "data_2"), ("text_1", "text_2"))
_ONES: Final[Fields] = {name: one_or_many_strings for pair in _PAIRS for name in pair}
_SCORE: Final[Fields] = {**_ONES, "model": string, "request_id": string}
_RERANK: Final[Fields] = {"query": string, "documents": one_or_many_strings, "top_n": integer, "model": string}
_GENERATIVE: Final[Fields] = {
    "model": string,
    "query": string,
    "items": one_or_many_strings,
    "label_token_ids": integers,
    "request_id": string,
}


def score(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /score body; raises ApiError."""
    found = next((pair for pair in _PAIRS if all(data.get(name) is not None for name in pair)), None)
    if found is None:
        raise _missing(data, _PAIRS[0])
    check_fields(data, _SCORE, settings)
    ones, others = (_many(data[name]) for name in found)
    if len(ones) not in (1, len(others)):
        raise bad_request("Input lengths must be either 1:1, 1:N or N:N")
    return computed([*map(text_prompt, ones), *map(text_prompt, others)], "score-", settings, queries=len(ones))


def rerank(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /rerank body; raises ApiError."""
    if any(data.get(name) is None for name in ("query", "documents")):
        raise _missing(data, ("query", "documents"))
    check_fields(data, _RERANK, settings)
    documents = _many(data["documents"])
    most = int(data.get("top_n") or 0)
    return computed(
        [*map(text_prompt, (data["query"], *documents))],
        "score-",
        settings,
        queries=1,
        documents=documents,
        most=most if most > 0 else len(documents),
    )


def generative(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /generative_scoring body; raises ApiError. Each item behind the query gets one token."""
    needed = ("query", "items", "label_token_ids")
    if any(data.get(name) is None for name in needed):
        raise _missing(data, needed)
    check(data, _GENERATIVE)
    check_model(data, settings)
    labels, items = whole_numbers(data["label_token_ids"]), _many(data["items"])
    if not labels:
        raise bad_request("label_token_ids must contain at least one token ID.")
    if (unknown := tokens.first_unknown(labels)) is not None:
        raise bad_request(
            f"label_token_id {unknown} is out of vocabulary range [0, {tokens.VOCABULARY_SIZE}). Please provide valid "
            "token IDs."
        )
    if not items:
        raise bad_request("items must contain at least one item.")
    prompts = tuple(Prompt(tokens.encode(data["query"]) + tokens.encode(item), "ids") for item in items)
    if not all(prompt.ids for prompt in prompts):
        raise bad_request("The decoder prompt cannot be empty")
    output_limits(prompts, 1, "max_tokens", settings)
    limits = (1,) * len(prompts)
    return Generation(prompts=prompts, max_tokens=limits, id_prefix="generative-scoring-", id_suffix="-{}")


def _missing(data: Mapping[str, Any], names: tuple[str, ...]) -> ApiError:
    missing = [name for name in names if data.get(name) is None]
    return schema_error([problem("missing", f"body.{name}", "Field required", data) for name in missing])


def _many(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
