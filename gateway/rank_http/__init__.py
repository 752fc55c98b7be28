"""HTTP/1.1 to ranks. `gateway/upstream.py` is its only user."""
