"""The ledger's invariants, each as tests that a one-line change of a script makes fail (tests/mutants.py)."""
