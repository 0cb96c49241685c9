"""Where tasks come from: a file for each source, and their names in `registry.py`."""
