"""Pages about a run, made from its folder."""
