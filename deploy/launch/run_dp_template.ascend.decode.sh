#!/bin/bash
# One decode rank of vLLM on Ascend. `forebay agent --launch` runs this once for each rank, as vllm-ascend's
# launch_online_dp.py runs its run_dp_template.sh:
#   $1 devices  $2 port  $3 DP size  $4 DP rank  $5 DP address  $6 DP RPC port  $7 TP size
# From the environment: MODEL (a path or name), SERVED_NAME (the agent's --model; MODEL unless set) and NODE_ADDRESS
# (this node as other ranks reach it; the agent sets it);
# PREFILL_DP, PREFILL_TP, DECODE_DP, DECODE_TP: the sizes of both groups, which each rank is told; NIC: the network
# interface with NODE_ADDRESS, found unless it is set.
# Guide: docs/launch.md.
set -eu

export ASCEND_RT_VISIBLE_DEVICES=$1

# HCCL and Gloo guess the interface unless they are told, and often wrong.
: "${NODE_ADDRESS:?"set it to this node's address as other ranks reach it"}"
nic=${NIC:-$(ip -o addr show to "$NODE_ADDRESS" | awk '{print $2; exit}')}
export HCCL_IF_IP=$NODE_ADDRESS
export GLOO_SOCKET_IFNAME=$nic TP_SOCKET_IFNAME=$nic HCCL_SOCKET_IFNAME=$nic
export OMP_PROC_BIND=false OMP_NUM_THREADS=10
# Megabytes of buffer for each communicator: experts of a wide decode group need more than 256.
export HCCL_BUFFSIZE=1024
export PYTORCH_NPU_ALLOC_CONF=expandable_segments:True
export TASK_QUEUE_ENABLE=1

# A DP group is for MoE models: its ranks step together, and their experts are spread over all of them. A dense model
# gets none of this, since vLLM refuses it; with --dense the agent says that the DP size is 1.
dp=()
if [ "$3" -gt 1 ]; then
    dp=(--data-parallel-size "$3" --data-parallel-rank "$4"
        --data-parallel-address "$5" --data-parallel-rpc-port "$6" --enable-expert-parallel)
fi

# Side channels are kv_port + DP rank x TP size. AscendDirect takes random ports from 20000 on, 1000 for each NPU, so
# kv_port is 36000 or more where a node has 16. Prefill ranks on the same node begin at 36000. Dense ranks
# all have DP rank 0: theirs are set apart by the HTTP port.
kv_port=38000
if [ "$3" -le 1 ]; then kv_port=$((kv_port + $2 % 100 * $7)); fi

# Both sizes have to be the same on all nodes: P and D are made for each other.
prefill="{\"dp_size\": ${PREFILL_DP:?}, \"tp_size\": ${PREFILL_TP:?}}"
decode="{\"dp_size\": ${DECODE_DP:-$3}, \"tp_size\": ${DECODE_TP:-$7}}"

# --host: gateways on other nodes have to reach it.
# --seed: ranks of a DP group must draw alike.
# --max-num-seqs: how many answers are generated side by side. The agent gets the same --max-num-seqs.
# --max-num-batched-tokens: a token for each sequence, and room for prompts that this rank prefills itself.
# --kv-transfer-config: the decode rank pulls KV over Mooncake. No engine_id: vLLM makes one for each process, and one
#   that two have in common mixes up their KV.
# exec: the signals that end a rank reach vLLM itself.
exec vllm serve "${MODEL:?set it to the model that vLLM serves}" \
    --served-model-name "${SERVED_NAME:-$MODEL}" \
    --host 0.0.0.0 \
    --port "$2" \
    --tensor-parallel-size "$7" \
    "${dp[@]}" \
    --seed 1024 \
    --max-num-seqs "${MAX_NUM_SEQS:-28}" \
    --max-num-batched-tokens "${MAX_NUM_BATCHED_TOKENS:-256}" \
    --enable-prompt-tokens-details \
    --kv-transfer-config "{\"kv_connector\": \"MooncakeConnectorV1\", \"kv_role\": \"kv_consumer\",
        \"kv_port\": \"$kv_port\",
        \"kv_connector_extra_config\": {\"prefill\": $prefill, \"decode\": $decode}}"
