"""The command lines of vllm-ascend's pages and scripts, and the ranks each of them means."""

from typing import NamedTuple

LARGE_SCALE_EP = """
python load_balance_proxy_server_example.py \\
  --port 8000 \\
  --host 0.0.0.0 \\
  --prefiller-hosts \\
    192.0.0.1 \\
    192.0.0.2 \\
    192.0.0.3 \\
    192.0.0.4 \\
  --prefiller-hosts-num \\
    2 2 2 2 \\
  --prefiller-ports \\
    9000 9000 9000 9000 \\
  --prefiller-ports-inc \\
    2 2 2 2\\
  --decoder-hosts \\
    192.0.0.5 \\
    192.0.0.6 \\
    192.0.0.7 \\
    192.0.0.8 \\
  --decoder-hosts-num \\
    16 16 16 16 \\
  --decoder-ports  \\
    9000 9000 9000 9000 \\
  --decoder-ports-inc \\
    16 16 16 16 \\
"""
"""The guide to large-scale expert parallelism, v0.9.1."""

EXTERNAL_DP = """
python dp_load_balance_proxy_server.py \\
    --host 0.0.0.0 --port 8000 \\
    --dp-hosts 127.0.0.1 127.0.0.1 \\
    --dp-ports 9000 9001 \\
"""
"""The guide to external data parallelism."""

PD_PULL = """
python load_balance_proxy_server_example.py \\
  --host 0.0.0.0 --port 9000 --workers 2 \\
  --prefiller-hosts 127.0.0.1 127.0.0.1 \\
  --prefiller-ports 8100 8101 \\
  --decoder-hosts 127.0.0.1 127.0.0.1 \\
  --decoder-ports 8200 8201
"""
"""The tutorial in main's script."""

LAYERWISE = """
python load_balance_proxy_layerwise_server_example.py \\
    --host 192.0.0.1 \\
  --port 1999 \\
  --host 192.0.0.1 \\
  --prefiller-hosts \\
    192.0.0.1 \\
    192.0.0.1 \\
    192.0.0.2 \\
    192.0.0.2 \\
  --prefiller-ports  \\
    7100 7101 7100 7101 \\
  --decoder-hosts \\
    192.0.0.3  \\
    192.0.0.3  \\
    192.0.0.4  \\
    192.0.0.4  \\
  --decoder-ports  \\
    7100 7101\\
    7100 7101\\
"""
"""The tutorial on disaggregation with Mooncake, with two decode ranks a node of its sixteen."""

SHORTENED = """
python3 load_balance_proxy_layerwise_server_example.py \\
        --host "192.0.0.1" \\
        --port "8080" \\
        --prefiller-hosts 192.0.0.1 \\
        --prefiller-port 13700 \\
        --decoder-hosts 192.0.0.2 \\
        --decoder-port 13701
"""
"""The script of a Kubernetes deployment, which shortens flags as argparse allows."""

BUCKET = """
python hybrid_proxy_server.py \\
    --host 0.0.0.0 --port 8000 \\
    --server-hosts 127.0.0.1 127.0.0.1 127.0.0.1 127.0.0.1 \\
    --server-ports 8100 8101 8102 8103 \\
    --enable-dynamic-bucket \\
    --server-group-threshold 32768
"""
"""The tutorial in the bucket balancer's script."""


class Documented(NamedTuple):
    """One command line, the mode it is for, and its ranks by role, in order."""

    text: str
    mode: str
    ranks: dict[str, list[str]]


DOCUMENTED = {
    "large-scale-ep": Documented(
        LARGE_SCALE_EP,
        "pd",
        {
            "prefill": [f"192.0.0.{host}:{9000 + i}" for host in (1, 2, 3, 4) for i in range(2)],
            "decode": [f"192.0.0.{host}:{9000 + i}" for host in (5, 6, 7, 8) for i in range(16)],
        },
    ),
    "external-dp": Documented(EXTERNAL_DP, "dp", {"mixed": ["127.0.0.1:9000", "127.0.0.1:9001"]}),
    "pd-pull": Documented(
        PD_PULL,
        "pd",
        {"prefill": ["127.0.0.1:8100", "127.0.0.1:8101"], "decode": ["127.0.0.1:8200", "127.0.0.1:8201"]},
    ),
    "layerwise": Documented(
        LAYERWISE,
        "layerwise",
        {
            "prefill": ["192.0.0.1:7100", "192.0.0.1:7101", "192.0.0.2:7100", "192.0.0.2:7101"],
            "decode": ["192.0.0.3:7100", "192.0.0.3:7101", "192.0.0.4:7100", "192.0.0.4:7101"],
        },
    ),
    "shortened-layerwise": Documented(
        SHORTENED, "layerwise", {"prefill": ["192.0.0.1:13700"], "decode": ["192.0.0.2:13701"]}
    ),
    "bucket": Documented(BUCKET, "bucket", {"mixed": [f"127.0.0.1:{port}" for port in range(8100, 8104)]}),
}
