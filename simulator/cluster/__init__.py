"""The cluster simulation: ranks, gateways and agents in virtual time, driving the policies and scripts that serve."""
