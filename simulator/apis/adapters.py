"""LoRA adapters: loaded under a name, by which the model then answers too. Their weights are nowhere looked at."""

from __future__ import annotations

from typing import Any, Final

from simulator import validation
from simulator.api_errors import ApiError, api_error, problem, schema_error
from simulator.exchange import Exchange, Request
from simulator.field_types import boolean, string
from simulator.rank import Rank

_FIELDS: Final[validation.Fields] = {"lora_name": string, "lora_path": string, "load_inplace": boolean}


def load(rank: Rank, request: Request, exchange: Exchange) -> None:
    """/v1/load_lora_adapter; raises ApiError."""
    data = _read(request, "lora_name", "lora_path")
    name, path = data["lora_name"], data["lora_path"]
    if not name or not path:
        raise _wrong("Both 'lora_name' and 'lora_path' must be provided.")
    if name == rank.settings.model:
        raise _wrong(f"The lora adapter '{name}' conflicts with a served base model.")
    if name in rank.adapters and not data.get("load_inplace"):
        text = f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, set"
        raise _wrong(f"{text} 'load_inplace' to True.")
    rank.adapters[name] = path
    exchange.respond(200, f"Success: LoRA adapter '{name}' added successfully.".encode(), content_type=None)


def unload(rank: Rank, request: Request, exchange: Exchange) -> None:
    """/v1/unload_lora_adapter; raises ApiError."""
    name = _read(request, "lora_name")["lora_name"]
    if not name:
        raise _wrong("'lora_name' needs to be provided to unload a LoRA adapter.")
    if rank.adapters.pop(name, None) is None:
        raise api_error(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
    exchange.respond(200, f"Success: LoRA adapter '{name}' removed successfully.".encode(), content_type=None)


def _read(request: Request, *required: str) -> dict[str, Any]:
    data = validation.read_json(request.body, request.headers.get("content-type"))
    missing = [problem("missing", f"body.{name}", "Field required", data) for name in required if name not in data]
    nulls = [wrong for name in required if name in data for wrong in string(data[name], f"body.{name}")]
    if missing or nulls:
        raise schema_error([*missing, *nulls])
    validation.check(data, _FIELDS)
    return data


def _wrong(message: str) -> ApiError:
    return api_error(400, message, "InvalidUserInput")
