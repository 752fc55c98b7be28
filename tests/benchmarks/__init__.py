"""Tests of the measurements, so that their numbers can be believed."""
