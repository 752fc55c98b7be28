"""Through a gateway and direct: what a client gets of a rank must be the same."""
