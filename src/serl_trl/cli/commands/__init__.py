"""Commands of `serl` with a file of their own: `run(argv, out)` returns the exit code."""
