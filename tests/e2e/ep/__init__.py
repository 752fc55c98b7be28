"""The topology of vLLM-Ascend's guide to large-scale expert parallelism, with simulated ranks."""
