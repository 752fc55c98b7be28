"""Placement policies: pure functions from a view of the pool to linear costs."""
