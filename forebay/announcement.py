"""What `forebay up` prints when all of it is ready. Pure."""

from __future__ import annotations

import json

from forebay.ports import LOOPBACK
from forebay.settings import UpSettings
from scheduler.store_url import shown_url


def announcement(settings: UpSettings, redis_url: str, redis_is: str, *, program: str, key_demanded: bool) -> str:
    """The ready line, with Redis and the gateways, and how to call each gateway; `program` is how to call Forebay."""
    counts = ", ".join(f"{count} {role}" for role, count in settings.ranks_by_role.items())
    url = shown_url(redis_url)
    how_to_name_it = url if url == redis_url else "URL, the one given"
    lines = [
        f"forebay up is ready: redis {url}, gateways {' '.join(_gateways(settings))}",
        "",
        f"  model     {settings.model}",
        f"  ranks     {counts}, simulated, {settings.speed:g} x real time",
        f"  redis     {url}  ({redis_is})",
        f"  look      {program} status --redis {how_to_name_it}",
        "  stop      Ctrl-C, or SIGTERM",
        "",
        *(_curl(gateway, settings.model, key_demanded=key_demanded) for gateway in _gateways(settings)),
    ]
    return "\n".join(lines)


def _gateways(settings: UpSettings) -> list[str]:
    return [f"http://{LOOPBACK}:{port}" for port in settings.gateway_ports]


def _curl(gateway: str, model: str, *, key_demanded: bool) -> str:
    messages = [{"role": "user", "content": "Hello"}]
    body = json.dumps({"model": model, "stream": True, "max_tokens": 32, "messages": messages})
    key = ' -H "Authorization: Bearer $FOREBAY_API_KEY"' if key_demanded else ""
    quoted = body.replace("'", "'\\''")
    return f"  curl -N {gateway}/v1/chat/completions{key} -H 'Content-Type: application/json' -d '{quoted}'"
