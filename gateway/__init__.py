"""The stateless OpenAI-compatible front."""
