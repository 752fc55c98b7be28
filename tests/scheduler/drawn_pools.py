"""Pools of all kinds, drawn: of any roles, loads, silences, places, connectors and lengths of context."""

from __future__ import annotations

from hypothesis import strategies as st

from scheduler.messages import RankState
from scheduler.rows import BookLoad
from scheduler.view import PoolView
from tests.scheduler.samples import pd_rank, view

NIXL = frozenset({"nixl"})
"""The connectors of a gateway that pairs most of these ranks."""
POOL_MS = 60_000
SHORT, LONG = 8_192, 32_768
least_tokens = st.sampled_from([0, 0, SHORT, SHORT + 1, LONG, LONG + 1])
"""Of a request: some have room in no rank's context, some only in a long one."""

_books = st.builds(
    BookLoad,
    queued_tokens=st.integers(0, 10**6),
    prompts=st.integers(0, 9),
    progress_since_ms=st.integers(0, POOL_MS),
    requests=st.integers(0, 500),
    dispatched=st.integers(0, 500),
    unseen_kv_tokens=st.integers(0, 10**5),
    engine_kv_tokens=st.integers(0, 10**6),
    growth_tokens=st.integers(0, 10**5),
)
_heard = st.fixed_dictionaries(
    {
        "state": st.sampled_from([RankState.UP] * 4 + [RankState.DOWN]),
        "drained": st.sampled_from([False] * 4 + [True]),
        "heard_ms": st.sampled_from([0, POOL_MS]),
        "sampled_ms": st.integers(POOL_MS - 12_000, POOL_MS),
        "foreign_requests": st.integers(0, 50),
        "foreign_kv_tokens": st.integers(-1_000, 10**5),
        "prefill_tokens_per_s": st.sampled_from([1e-3, 500.0, 7_777.7, 1e12]),
    }
)
_fields = st.fixed_dictionaries(
    {
        "connector": st.sampled_from(["nixl"] * 3 + ["", "mooncake"]),
        "engine_version": st.sampled_from(["0.32.0", "0.33.0"]),
        "node": st.sampled_from("abc"),
        "dp_group": st.sampled_from(["", "g1"]),
        "max_model_len": st.sampled_from([SHORT] * 3 + [LONG]),
        "labels": st.sampled_from([{}, {"zone": "x"}, {"zone": "y"}]),
    }
)


@st.composite
def pools(draw: st.DrawFn, least: int = 0, most: int = 24) -> PoolView:
    """So many ranks, named by their roles and numbers: "m0", "d1"."""
    kinds = draw(st.lists(st.tuples(st.sampled_from("mpd"), _books, _heard, _fields), min_size=least, max_size=most))
    ranks = [
        pd_rank(f"{role}{number}", book, heard=told, **card) for number, (role, book, told, card) in enumerate(kinds)
    ]
    return view(*ranks, pool_ms=POOL_MS)
