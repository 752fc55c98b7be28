"""Shared state and placement; knows nothing of HTTP."""
