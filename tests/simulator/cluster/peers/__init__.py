"""Tests of the peers' rules: what a user of each would recognise, with numbers from its documentation."""
