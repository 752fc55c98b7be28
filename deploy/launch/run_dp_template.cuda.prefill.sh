#!/bin/bash
# One prefill rank of vLLM on CUDA. `forebay agent --launch` runs this once for each rank, as vllm-ascend's
# launch_online_dp.py runs its run_dp_template.sh:
#   $1 devices  $2 port  $3 DP size  $4 DP rank  $5 DP address  $6 DP RPC port  $7 TP size
# From the environment: MODEL (a path or name), SERVED_NAME (the agent's --model; MODEL unless set) and NODE_ADDRESS
# (this node as other ranks reach it; the agent sets it).
# Guide: docs/launch.md.
set -eu

export CUDA_VISIBLE_DEVICES=$1

# Where other ranks ask for this one's KV; vLLM's default is localhost, which they cannot reach. vLLM adds the DP rank
# to the port, so it is taken off here: each rank's side channel is its HTTP port + 20000, dense or not, and collides
# with no other rank of the node.
export VLLM_NIXL_SIDE_CHANNEL_HOST=${NODE_ADDRESS:?"set it to this node's address as other ranks reach it"}
rank=$4
if [ "$3" -le 1 ]; then rank=0; fi
export VLLM_NIXL_SIDE_CHANNEL_PORT=$((20000 + $2 - rank))

# A DP group is for MoE models: its ranks step together, and their experts are spread over all of them. A dense model
# gets none of this, since vLLM refuses it; with --dense the agent says that the DP size is 1.
dp=()
if [ "$3" -gt 1 ]; then
    dp=(--data-parallel-size "$3" --data-parallel-rank "$4"
        --data-parallel-address "$5" --data-parallel-rpc-port "$6" --enable-expert-parallel)
fi

# --host: gateways on other nodes have to reach it.
# --max-num-batched-tokens: a large step prefills long prompts in few pieces; no decoding here suffers from it.
# --max-num-seqs: a prompt stays for one step or few, so few at once are enough. The agent gets the same --max-num-seqs.
# --enable-prompt-tokens-details: usage tells how much of a prompt was cached, which gateways learn from.
# --kv-transfer-config: KV is pulled by the decode rank over NIXL. kv_both, since NIXL's ranks take either part.
# exec: the signals that end a rank reach vLLM itself.
exec vllm serve "${MODEL:?set it to the model that vLLM serves}" \
    --served-model-name "${SERVED_NAME:-$MODEL}" \
    --host 0.0.0.0 \
    --port "$2" \
    --tensor-parallel-size "$7" \
    "${dp[@]}" \
    --max-num-batched-tokens "${MAX_NUM_BATCHED_TOKENS:-16384}" \
    --max-num-seqs "${MAX_NUM_SEQS:-16}" \
    --enable-prompt-tokens-details \
    --kv-transfer-config '{"kv_connector": "NixlConnector", "kv_role": "kv_both"}'
