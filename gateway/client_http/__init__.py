"""What speaks HTTP with clients: uvicorn's protocol with the limits it lacks."""
