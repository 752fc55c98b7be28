"""The composition root: the `forebay` command."""
