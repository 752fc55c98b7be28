"""`forebay proxy`: its command line and what it is made of."""
