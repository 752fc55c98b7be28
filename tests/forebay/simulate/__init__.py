"""Tests of `forebay simulate`."""
