"""The bytes of a load test's requests."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from forebay.load_test.settings import LoadTestSettings
from forebay.load_test.workload import Planned

PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}


class Target(msgspec.Struct, frozen=True):
    """Where requests go, and what stands before each one's length and body."""

    host: str
    port: int
    secure: bool
    head: bytes


def target(base: str, api: str, headers: dict[str, str]) -> Target:
    """Of one server; `base` is its URL without an API's path."""
    parts = urlsplit(base)
    secure = parts.scheme == "https"
    lines = [
        f"POST {parts.path}{PATHS[api]} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Content-Type: application/json",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return Target(
        host=parts.hostname or "",
        port=parts.port or (443 if secure else 80),
        secure=secure,
        head="".join(f"{line}\r\n" for line in lines).encode(),
    )


def body(settings: LoadTestSettings, model: str, planned: Planned) -> bytes:
    """The JSON of a request for a stream that ends with its usage."""
    asked: dict[str, object] = {"model": model}
    if settings.api == "chat":
        asked["messages"] = planned.messages
    else:
        asked["prompt"] = "\n".join(message["content"] for message in planned.messages)
    asked |= {
        "max_tokens": planned.output_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if settings.ignore_eos:
        asked["ignore_eos"] = True
    return msgspec.json.encode(asked)


def request(where: Target, content: bytes) -> bytes:
    """Head and body."""
    return b"%bContent-Length: %d\r\n\r\n%b" % (where.head, len(content), content)
