"""A simulated vLLM rank: vLLM 0.32's HTTP and metrics over a timing model, with no model behind it."""
