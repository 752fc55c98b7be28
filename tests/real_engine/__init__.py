"""Forebay before real vLLM engines (`make test-vllm`): outside the ordinary suite, which needs no engine."""
