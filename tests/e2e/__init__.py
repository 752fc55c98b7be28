"""Forebay as its users run it: real processes, from the command line."""
