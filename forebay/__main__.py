"""`python -m forebay`: the same as the `forebay` command, for whoever starts children of its own."""

from forebay.main import main

main(prog_name="forebay")
