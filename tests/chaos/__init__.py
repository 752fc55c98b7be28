"""Chaos: real processes under load while a seeded schedule of faults kills, freezes, cuts off and confuses them."""
