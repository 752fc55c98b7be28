"""Pushes what each step of a vLLM engine reports to the Forebay agent of its node, over a Unix datagram socket."""
