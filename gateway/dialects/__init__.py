"""How the APIs answer."""
