"""What a /inference/v1/generate request asks for: ids in and out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from simulator import tokens
from simulator.api_errors import Problem, bad_request, bad_value, problem, schema_error
from simulator.field_types import integer, integers, mapping, whole_numbers
from simulator.generation import Generation, alternatives, by_settings, check_model, sampling
from simulator.prompt import Prompt
from simulator.settings import RankSettings
from simulator.validation import SAMPLING, Fields, check, check_fields

_ON_TOP: Final = ("model", "stream", "stream_options", "request_id", "kv_transfer_params", "return_token_ids")


def _ids(value: Any, loc: str) -> list[Problem]:
    if wrong := integers(value, loc):
        return wrong
    if value:
        return []
    text = "List should have at least 1 item after validation, not 0"
    return [problem("too_short", loc, text, value, field_type="List", min_length=1, actual_length=0)]


_FIELDS: Final[Fields] = {**{name: SAMPLING[name] for name in _ON_TOP}, "token_ids": _ids, "sampling_params": mapping}
_SAMPLING: Final[Fields] = {
    **{name: each for name, each in SAMPLING.items() if name not in _ON_TOP},
    "logprobs": integer,
    "prompt_logprobs": integer,
}


def read(data: Mapping[str, Any], settings: RankSettings) -> Generation:
    """A /inference/v1/generate body; raises ApiError. A limit beyond the context is cut to it."""
    required = ("token_ids", "sampling_params")
    missing = [problem("missing", f"body.{name}", "Field required", data) for name in required if name not in data]
    if missing:
        raise schema_error(missing)
    check({**data, **{name: data[name] or {} for name in required if data[name] is None}}, _FIELDS)
    asked = data["sampling_params"]
    if wrong := check_fields(asked, _SAMPLING, "body.sampling_params"):
        raise schema_error(wrong)
    limit = asked.get("max_tokens")
    if limit is not None and limit < 1:
        raise bad_value(f"max_tokens must be at least 1, got {int(limit)}.", "max_tokens", int(limit))
    shared = sampling({**data, **asked}, (settings.max_model_len if limit is None else int(limit),))
    check_model(data, settings)
    if shared["n"] > settings.max_num_seqs:
        text = f"sampling_params.n must be at most the server's max_num_seqs ({settings.max_num_seqs})"
        raise bad_request(f"{text}, got {shared['n']}.")
    prompt = _prompt(whole_numbers(data["token_ids"]), settings.max_model_len)
    room = settings.max_model_len - len(prompt.ids)
    return Generation(
        prompts=(prompt,),
        max_tokens=(room if limit is None else min(int(limit), room),),
        id_prefix="generate-tokens-",
        keeps_ids=True,
        logprobs=None if asked.get("logprobs") is None else alternatives(asked, "logprobs"),
        repeats={"output_mode": "text" if data.get("output_mode") == "text" else "tokens"},
        **shared,
        **by_settings({**data, "prompt_logprobs": asked.get("prompt_logprobs")}, settings),
    )


def _prompt(ids: list[int], context: int) -> Prompt:
    if (unknown := tokens.first_unknown(ids)) is not None:
        raise bad_request(f"Token id {unknown} is out of vocabulary")
    if len(ids) >= context:
        raise bad_request(
            f"The decoder prompt (length {len(ids)}) is longer than the maximum model length of {context}. Make sure "
            "that `max_model_len` is no smaller than the number of text tokens."
        )
    return Prompt(ids, "ids")
