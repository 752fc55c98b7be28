"""Tests of the cluster simulation."""
