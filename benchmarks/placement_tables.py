"""What docs/placement.md shows: each table as `forebay simulate` commands, one for each rule. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

OWN = "forebay"
OURS = ("forebay_pairs", OWN)
"""Forebay's own rules; the others are compared with the last."""
PEERS = (
    *("smg_cache_aware", "smg_least_load", "llm_d", "llm_d_queue", "llm_d_precise", "llm_d_decider"),
    *("llm_d_decider_2048", "dynamo", "dynamo_aic", "dynamo_conditional", "lmetric", "aibrix_prefix"),
    *("vllm_dp", "vllm_dp_old", "po2_1s", "po2_30s", "fastdeploy"),
    *("ascend_external_dp", "ascend_pd", "ascend_bucket", "own_counts"),
)
"""Rules of other routers, and last the negative control."""
LOADS = "0.5/0.7/0.9/1/1.1"
MOONCAKE = "mooncake_conversation.jsonl"
AZURE = "azure_code.csv"
LARGE_CACHE = ("--prefill-kv-capacity-tokens", "2000000")
"""As with MLA, or a tier of host memory."""


class TableSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One table. `trace` is a file's name, empty where `options` name a workload; a run has so many `requests`.

    All rules are compared at all `loads` and numbers of `gateways`, values with / between them.
    """

    name: str
    title: str
    trace: str = ""
    options: tuple[str, ...] = ()
    rules: tuple[str, ...] = (*PEERS, *OURS)
    loads: str = LOADS
    gateways: str = "1/16"
    requests: int = 2000

    def options_of(self, rule: str, traces: str, seeds: str) -> list[str]:
        """What `forebay simulate` is given for one rule; `traces` is the folder where trace files are."""
        source = ["--trace", f"{traces}/{self.trace}"] if self.trace else []
        sweep = f"gateways={self.gateways},load={self.loads}"
        options = [*source, *self.options, "--requests", str(self.requests), "--seeds", seeds]
        return [*options, "--policy", rule, "--sweep", sweep]


AGAINST_PEERS = (
    TableSpec(name="mooncake-first", title="Mooncake conversation, first half (tuned on)", trace=MOONCAKE),
    TableSpec(
        name="mooncake-second",
        title="Mooncake conversation, second half (held out)",
        trace=MOONCAKE,
        options=("--skip", "6015"),
    ),
    TableSpec(name="azure", title="Azure code", trace=AZURE),
    TableSpec(name="shared-prefix", title="Shared prefixes", options=("--workload", "shared_prefix")),
    TableSpec(name="hot", title="Four hot documents", options=("--workload", "hot")),
    TableSpec(name="hottest", title="One hot document", options=("--workload", "hottest")),
)
FLAT = (
    TableSpec(
        name="gateways-default",
        title="Caches of 512 k tokens, more and more gateways",
        trace=MOONCAKE,
        options=("--skip", "6015"),
        rules=("own_counts", "llm_d_precise", "dynamo_aic", OWN),
        loads="0.9",
        gateways="1/4/16/64/100",
    ),
    TableSpec(
        name="gateways-large",
        title="Caches of 2 M tokens, more and more gateways",
        trace=MOONCAKE,
        options=("--skip", "6015", *LARGE_CACHE),
        rules=("own_counts", "lmetric", "smg_cache_aware", "llm_d_queue", "llm_d_precise", "dynamo", "dynamo_aic", OWN),
        loads="0.7/0.9",
        gateways="1/4/16/64/100",
    ),
)


def table_named(name: str) -> TableSpec:
    """The table of that name; raises KeyError."""
    return {table.name: table for table in (*AGAINST_PEERS, *FLAT)}[name]


def names_of(tables: Sequence[TableSpec]) -> list[str]:
    """How tables are called."""
    return [table.name for table in tables]
