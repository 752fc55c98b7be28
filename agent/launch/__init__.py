"""Starts a node's ranks from a template, as vllm-ascend's launch_online_dp.py does, and keeps them."""
