"""`forebay proxy`: stands in for the proxies that vllm-ascend ships."""
