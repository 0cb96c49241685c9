"""Which process of a distributed run this is, from the launcher's variables; costs no torch."""

import os


def is_main_process() -> bool:
    """Return whether this is the first process of a run, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def num_processes() -> int:
    """Return how many processes the launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1"))
