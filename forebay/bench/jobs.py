"""What the benchmark asks of its load client, and what that answers: one JSON line each. Pure."""

from __future__ import annotations

import msgspec


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Requests to `addresses` (HOST:PORT, in turn) over `connections` connections of their own.

    Each is of `body_bytes` and asks for `tokens` tokens, and if `streamed` for a chunk every `interval_us`. Where there
    are more `requests` than connections, a connection sends its next one when it has the answer to the last. The
    first ones are spread over `ramp_s`. What is not answered within `deadline_s` has failed. With `hold` the job is
    over when every stream has begun, and the connections stay open until the next job. `key` goes with each request.
    """

    addresses: tuple[str, ...]
    connections: int
    requests: int
    tokens: int
    body_bytes: int
    streamed: bool = False
    interval_us: int = 0
    ramp_s: float = 0.0
    deadline_s: float = 60.0
    hold: bool = False
    key: str = ""


class Spread(msgspec.Struct, frozen=True):
    """How some times are spread, in milliseconds; None if there were none."""

    p50_ms: float | None = None
    p99_ms: float | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a job.

    `first`: from a request to its first chunk, or its whole answer, less the time that the backend kept it. `gap`: what
    was added between two chunks to the time the backend let pass. `delay`: from the backend's sending a chunk to its
    receipt. `errors`: how many requests failed, by kind.
    """

    answers: int
    chunks: int
    took_s: float
    first: Spread
    gap: Spread
    delay: Spread
    errors: dict[str, int]


def spread(times_ns: list[int]) -> Spread:
    """Median and 99th percentile (nearest rank) of some times."""
    if not times_ns:
        return Spread()
    ordered = sorted(times_ns)
    last = len(ordered) - 1
    return Spread(ordered[round(0.50 * last)] / 1e6, ordered[round(0.99 * last)] / 1e6)


def request_bytes(job: Job, address: str, model: str) -> bytes:
    """The request of a job, head and body: a chat of one message that fills the body."""
    body = {
        "model": model,
        "max_tokens": job.tokens,
        "stream": job.streamed,
        "messages": [{"role": "user", "content": ""}],
    }
    if job.streamed:
        body |= {"seed": job.interval_us, "stream_options": {"include_usage": True}}
    bare = len(msgspec.json.encode(body))
    body["messages"] = [{"role": "user", "content": _prose(max(1, job.body_bytes - bare))}]
    encoded = msgspec.json.encode(body)
    key = f"Authorization: Bearer {job.key}\r\n" if job.key else ""
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
        f"{key}Content-Length: {len(encoded)}\r\n\r\n"
    ).encode() + encoded


def _prose(length: int) -> str:
    words = "the water is held and let out as each turbine can take it "
    return (words * (length // len(words) + 1))[:length]
