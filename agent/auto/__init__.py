"""Finds the vLLM servers that run on this node, and what an agent has to know of them."""
