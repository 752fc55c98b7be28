"""Nodes of a DP group on a real store."""
