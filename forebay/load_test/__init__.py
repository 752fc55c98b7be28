"""`forebay bench --url`: a load test of any server that speaks OpenAI's API."""
