"""`forebay proxy` as a process, before simulated ranks."""
