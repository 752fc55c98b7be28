"""Launch templates as users have them, and the options of a launch."""

from __future__ import annotations

from typing import Any

from agent.launch.settings import LaunchSettings

MAIN = """\
export HCCL_IF_IP=your_ip_here
export VLLM_LOGGING_LEVEL="info"
export HCCL_BUFFSIZE=1024

export ASCEND_RT_VISIBLE_DEVICES=$1

vllm serve model_path \\
    --host 0.0.0.0 \\
    --port $2 \\
    --data-parallel-size $3 \\
    --data-parallel-rank $4 \\
    --data-parallel-address $5 \\
    --data-parallel-rpc-port $6 \\
    --tensor-parallel-size $7 \\
    --enable-expert-parallel \\
    --kv-transfer-config \\
    '{"kv_connector": "MooncakeConnectorV1", "kv_role": "kv_consumer", "kv_port": "30200",
    "kv_connector_extra_config": {"decode": {"dp_size": '"$3"', "tp_size": '"$7"'}}}' \\
    --additional-config \\
    '{"enable_weight_nz_layout":true,"enable_multistream_moe":false}'
"""
"""As vllm-ascend's examples have it."""

V091 = """\
# run_dp_template.sh
#!/bin/sh
nic_name="xxxx"
export GLOO_SOCKET_IFNAME=$nic_name
# obtain parameters from distributed DP server
export VLLM_DP_SIZE=$1
export VLLM_DP_MASTER_IP=$2
export VLLM_DP_MASTER_PORT=$3
export VLLM_DP_RANK_LOCAL=$4
export VLLM_DP_RANK=$5
export VLLM_DP_SIZE_LOCAL=$7
export VLLM_ASCEND_EXTERNAL_DP_LB_ENABLED=1
vllm serve vllm-ascend/DeepSeek-R1-W8A8 \\
    --host 0.0.0.0 \\
    --port $6 \\
    --tensor-parallel-size 8 \\
    --kv-transfer-config '{"kv_connector": "MooncakeConnectorV1", "kv_port": "20001", "engine_id": "0"}'
"""
"""As the page on large-scale expert parallelism has it."""

DENSE = """\
export CUDA_VISIBLE_DEVICES=$1
vllm serve model --port $2 --tensor-parallel-size $7
"""


def launching(**changes: Any) -> LaunchSettings:
    options: dict[str, Any] = {"launch": "run.sh", "dp_size": 4, "dp_address": "192.0.2.1"}
    return LaunchSettings(**{**options, **changes})
