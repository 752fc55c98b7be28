"""What is asked of simulated ranks that count what is done wrong, and what they stream."""

from __future__ import annotations

from collections.abc import Iterable

from tests.simulator.prefill_decode import kv_usage
from tests.simulator.rank_process import RankProcess
from tests.sse import events_of


def is_busy(rank: RankProcess) -> bool:
    """Whether a rank has a request, or holds KV."""
    state = rank.state()
    return state["in_flight"] > 0 or state["in_engine"] > 0 or kv_usage(rank) > 0


def transferred_tokens(decodes: Iterable[RankProcess]) -> float:
    """Prompt tokens that decode ranks have from prefill ranks."""
    by_source = [rank.series("vllm:prompt_tokens_by_source_total") for rank in decodes]
    return sum(value for series in by_source for labels, value in series.items() if "external_kv" in labels)


def text_of(events: str) -> str:
    """What a stream said."""
    choices = [choice for event in events_of(events) for choice in event["choices"]]
    return "".join(choice["text"] if "text" in choice else choice["delta"].get("content", "") for choice in choices)
