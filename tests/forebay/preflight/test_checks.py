"""What a preflight makes of what it sees."""

from __future__ import annotations

from itertools import product
from typing import Any

import msgspec
import pytest
from rich.console import Console

from agent.auto.arguments import Arguments
from agent.targets import parse_targets
from forebay.preflight.finding import Finding, Level
from forebay.preflight.fleet_check import fleet_findings, port_range_findings
from forebay.preflight.node_check import proxy_findings
from forebay.preflight.pair_check import matrix_of, pair_findings
from forebay.preflight.rank_facts import KvOffer, RankFacts
from forebay.preflight.report import Report, tables
from forebay.preflight.server_ports import ascend_direct_findings, ports_of
from forebay.preflight.settings import PreflightSettings
from scheduler.messages import Role

P, D = "10.0.0.1:9000", "10.0.0.2:9000"
HERE = {"10.0.0.2"}


def rank(name: str = P, role: Role = Role.PREFILL, **fields: Any) -> RankFacts:
    (target,) = parse_targets(name)
    good: dict[str, Any] = {
        "version": "0.32.0",
        "connector": "nixl",
        "models": ("m",),
        "max_model_len": 4096,
        "block_size": 16,
        "cache_dtype": "auto",
        "offer": KvOffer(engine_id=name, host=target.host, port=5600, reachable=True) if role is Role.PREFILL else None,
    }
    return RankFacts(target=target, role=role, **good | fields)


def pair(here: set[str] = HERE, *, of_p: dict[str, Any] | None = None, **of_d: Any) -> list[Finding]:
    return pair_findings(rank(**of_p or {}), rank(D, Role.DECODE, **of_d), here)


def offer(**fields: Any) -> dict[str, Any]:
    good = KvOffer(engine_id="e", host="10.0.0.1", port=5600, reachable=True)
    return {"offer": msgspec.structs.replace(good, **fields)}


def test_ranks_that_agree_and_reach_each_other_pair() -> None:
    assert pair() == []


@pytest.mark.parametrize(
    ("fields", "what", "change"),
    [
        ({"version": "0.31.0"}, "version differs: 0.32.0 and 0.31.0", "installed vLLM"),
        ({"block_size": 128}, "KV block size differs: 16 and 128", "--block-size"),
        ({"cache_dtype": "fp8"}, "KV cache type differs: auto and fp8", "--kv-cache-dtype"),
        ({"models": ("n",)}, "model differs: m and n", "--served-model-name"),
        ({"connector": "pull"}, "connector differs: nixl and pull", "--connector"),
    ],
)
def test_what_keeps_two_ranks_from_pairing_is_bad_and_names_the_flag(
    fields: dict[str, Any], what: str, change: str
) -> None:
    (found,) = pair(**fields)
    assert (found.level, found.what) == (Level.BAD, what)
    assert change in found.change


def test_what_a_rank_does_not_tell_is_no_difference() -> None:
    assert pair(block_size=0, cache_dtype="", connector="") == []
    assert pair(models=("adapter", "m")) == []


def test_ranks_of_different_pools_are_no_pair() -> None:
    ranks = [
        rank(f"10.0.0.{number}:9000", role, pool=pool)
        for number, (role, pool) in enumerate(product((Role.PREFILL, Role.DECODE), "ab"))
    ]
    cells = matrix_of(ranks, HERE)
    assert [(cell.prefill, cell.decode) for cell in cells] == [
        ("10.0.0.0:9000", "10.0.0.2:9000"),
        ("10.0.0.1:9000", "10.0.0.3:9000"),
    ]
    console = Console(width=130)
    with console.capture() as capture:
        console.print(*tables(Report((), cells)), sep="\n")
    rows = [" ".join(line.replace("│", " ").split()) for line in capture.get().splitlines()]
    assert [row for row in rows if row.startswith(("10.", "pool"))] == [
        "10.0.0.0:9000 ok",
        "pool a",
        "10.0.0.1:9000 ?",
        "pool b",
    ]


def test_a_shorter_decode_rank_is_a_warning() -> None:
    (found,) = pair(max_model_len=2048)
    assert (found.level, found.change) == (Level.WARN, "--max-model-len")


def test_a_side_channel_that_takes_no_connection_is_seen_on_the_decode_ranks_node() -> None:
    unreachable = offer(reachable=False)
    (found,) = pair(of_p=unreachable)
    assert (found.level, found.what) == (Level.BAD, "the side channel 10.0.0.1 port 5600 takes no connection from here")
    (elsewhere,) = pair(set(), of_p=unreachable)
    assert (elsewhere.level, elsewhere.change) == (Level.UNSEEN, "run forebay preflight on 10.0.0.2")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0.0.0.0", "::1"])
def test_kv_offered_at_loopback_to_another_host_names_the_variable(host: str) -> None:
    (found,) = pair(of_p=offer(host=host))
    assert (found.level, found.change) == (
        Level.WARN,
        "VLLM_NIXL_SIDE_CHANNEL_HOST=10.0.0.1 of the prefill rank",
    )


def test_of_ranks_that_do_not_answer_nothing_is_compared() -> None:
    (found,) = pair(fault="does not answer", version="")
    assert found.level is Level.UNSEEN


def test_ranks_that_are_away_offer_nothing_or_share_what_is_one_ranks_are_told() -> None:
    same = KvOffer(engine_id="0", host="10.0.0.1", port=5600)
    found = fleet_findings(
        [
            rank("10.0.0.1:9000", offer=same),
            rank("10.0.0.1:9001", offer=same),
            rank("10.0.0.1:9002", offer=None, no_offer="no kv_transfer_params"),
            rank("10.0.0.1:9003", Role.DECODE, fault="does not answer: refused"),
        ]
    )
    assert [(finding.where, finding.what) for finding in found] == [
        ("10.0.0.1:9003", "does not answer: refused"),
        ("10.0.0.1:9002", "offers no KV: no kv_transfer_params"),
        ("10.0.0.1:9000, 10.0.0.1:9001", "have the same engine id, 0"),
        ("10.0.0.1:9000, 10.0.0.1:9001", "have the same side channel, 10.0.0.1:5600"),
    ]
    assert {finding.level for finding in found} == {Level.BAD}
    assert all(finding.change for finding in found)


def test_ranges_of_ports_that_overlap_are_told() -> None:
    found = port_range_findings(
        [("a", range(10, 20)), ("b", range(19, 25)), ("c", range(30, 31)), ("d", range(18, 25))]
    )
    assert [(finding.where, finding.what) for finding in found] == [
        ("a, b", "both use port 19"),
        ("a, d", "both use ports 18-19"),
        ("b, d", "both use ports 19-24"),
    ]


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        (
            ["--kv-transfer-config", '{"kv_connector": "NixlConnector"}', "-dpn", "3", "-dp", "4"],
            {"VLLM_NIXL_SIDE_CHANNEL_PORT": "5700"},
            range(5703, 5704),
        ),
        (
            ["--kv-transfer-config", '{"kv_connector": "MooncakeConnector", "kv_role": "kv_producer"}'],
            {},
            range(8998, 8999),
        ),
        (
            [
                "--kv-transfer-config",
                '{"kv_connector": "MooncakeConnectorV1", "kv_port": "30000"}',
                "-tp",
                "8",
                "-dpn=1",
            ],
            {},
            range(30008, 30016),
        ),
        (
            ["--kv-transfer-config", '{"kv_connector": "MooncakeConnectorV1", "kv_port": "20001"}', "-tp", "1"],
            {"VLLM_DP_RANK": "17"},
            range(20018, 20019),
        ),
    ],
)
def test_ports_for_kv_are_known_by_the_connector(
    words: list[str], environment: dict[str, str], expected: range
) -> None:
    given = Arguments(words)
    (api, kv) = ports_of("vLLM 7", given, environment, [9000])
    assert api == ("vLLM 7 API", range(9000, 9001))
    assert kv[1] == expected


@pytest.mark.parametrize("port", ["²", "9" * 5000, "x", "-1"])
def test_a_variable_that_is_no_port_leaves_the_default(port: str) -> None:
    given = Arguments(["--kv-transfer-config", '{"kv_connector": "NixlConnector"}'])
    (kv,) = ports_of("vLLM 7", given, {"VLLM_NIXL_SIDE_CHANNEL_PORT": port}, [])
    assert kv[1] == range(5600, 5601)


def test_a_kv_port_where_ascend_direct_draws_its_own_is_a_warning() -> None:
    ranges = [
        ("vLLM 7 kv_port", range(20001, 20009)),
        ("vLLM 8 kv_port", range(36000, 36008)),
        ("x API", range(20001, 20002)),
    ]
    (found,) = ascend_direct_findings(ranges, 16)
    assert (found.where, found.change) == ("vLLM 7 kv_port", "kv_port, from 36000 on")
    assert ascend_direct_findings(ranges, 0) == []


@pytest.mark.parametrize(
    ("environment", "level"),
    [
        ({}, Level.OK),
        ({"http_proxy": "http://p"}, Level.WARN),
        ({"HTTPS_PROXY": "http://p", "no_proxy": "10.0.0.1"}, Level.OK),
        ({"ALL_PROXY": "http://p", "NO_PROXY": "*"}, Level.OK),
        ({"http_proxy": ""}, Level.OK),
    ],
)
def test_proxy_variables_that_tools_would_obey_are_a_warning(environment: dict[str, str], level: Level) -> None:
    assert [finding.level for finding in proxy_findings(environment, ["10.0.0.1"])] == [level]


def test_proxy_variables_are_not_judged_where_no_host_is_known() -> None:
    (finding,) = proxy_findings({"http_proxy": "http://p:1"}, [])
    assert (finding.level, finding.what) == (Level.UNSEEN, "http_proxy, and no rank is named that it could hide")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"prefill_ranks": "9000"}, "prefill_ranks: '9000'"),
        ({"ports": "x"}, "ports: 'x' is not PORT or PORT-PORT"),
        ({"ports": "9000,h:9002"}, "ports: 'h:9002' is not PORT or PORT-PORT"),
        (
            {"prefill_ranks": "h:1-2", "decode_ranks": "h:2-3"},
            "decode_ranks: h:2 is given as a prefill rank, too",
        ),
        ({"mixed_ranks": "127.0.0.1:1", "decode_ranks": "localhost:1"}, "127.0.0.1:1 is given as a mixed rank, too"),
        ({"rank_cert": "x.pem"}, "rank_cert: certificate and key go together"),
        ({"npu_peer": ("10.0.0.1",)}, "npu_peer: say how many"),
    ],
)
def test_options_that_cannot_be_read_name_themselves(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        PreflightSettings(**fields)
