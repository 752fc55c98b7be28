"""How the commands that ask for answers reach a server: a gateway, or any other that speaks OpenAI's API."""
