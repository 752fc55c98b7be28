"""What dies, freezes or is cut off while real gateways, agents, ranks and a real Redis serve real requests."""
