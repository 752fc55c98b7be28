"""Measurements of Forebay as a whole; nothing here is imported by the product."""
