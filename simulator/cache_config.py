"""The labels of `vllm:cache_config_info`: vLLM shows every field of its cache configuration as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from simulator.settings import RankSettings

_FIXED: Final[Mapping[str, str]] = {
    "_block_size_resolved": "True",
    "cache_dtype": "auto",
    "cache_hit_alignment_tokens": "None",
    "enable_mamba_shared_prefix_checkpoint": "False",
    "enable_prefix_caching": "True",
    "gpu_memory_utilization": "0.92",
    "hash_block_size": "None",
    "is_attention_free": "False",
    "kv_cache_dtype_skip_layers": "[]",
    "kv_cache_layout": "None",
    "kv_cache_memory_bytes": "None",
    "kv_offloading_backend": "native",
    "kv_offloading_size": "None",
    "kv_sharing_fast_prefill": "False",
    "mamba_block_size": "None",
    "mamba_cache_dtype": "auto",
    "mamba_cache_mode": "none",
    "mamba_page_size_padded": "None",
    "mamba_ssm_cache_dtype": "float32",
    "num_cpu_blocks": "None",
    "num_gpu_blocks_override": "None",
    "prefix_cache_retention_interval": "0",
    "prefix_caching_hash_algo": "sha256",
    "prefix_match_unit": "None",
    "replayssm_buffer_len": "16",
    "skip_page_size_padded": "None",
    "sliding_window": "None",
    "swa_bounded_replay": "True",
    "use_kda_recoverssm": "False",
    "use_replayssm": "False",
    "user_specified_block_size": "True",
}


def cache_config_labels(settings: RankSettings) -> dict[str, str]:
    """All labels but `engine`. num_gpu_blocks is summed over the server's engines, as in vLLM."""
    size = str(settings.block_size_tokens)
    return {
        **_FIXED,
        "block_size": size,
        "effective_attention_block_size": size,
        "kv_cache_max_concurrency": str(settings.kv_tokens / settings.max_model_len),
        "kv_cache_size_tokens": str(settings.kv_tokens),
        "num_gpu_blocks": str(settings.kv_blocks * settings.engines),
    }
