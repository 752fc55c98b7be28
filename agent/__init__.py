"""One per node: probes its ranks, publishes their load."""
