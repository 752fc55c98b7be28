"""A rank that speaks vLLM's HTTP and metrics, with a timing model instead of a GPU."""
