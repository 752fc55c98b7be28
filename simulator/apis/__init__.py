"""The APIs of vLLM, one by one: what their requests ask for, and the bytes of their answers."""
