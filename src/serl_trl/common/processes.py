"""Which process of a distributed run this is, from the launcher's variables; costs no torch."""

import os
import sys
import time

# Seconds in which threads of the process group let go of their last tensors.
GRACE_S = 0.5


def is_main_process() -> bool:
    """Return whether this is the first process of a run, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def num_processes() -> int:
    """Return how many processes the launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leave_process_group() -> None:
    """End the process group of a run that succeeded, if there is one, while Python still runs.

    A thread of Gloo frees the tensors of the last exchange and needs the interpreter for that.
    Where the interpreter ends first, the process aborts with "terminate called without an active
    exception", and a finished run counts as failed. The pause hands the interpreter to that thread.
    """
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    # Not imported here: a command that never loaded torch has no group.
    if distributed and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
        time.sleep(GRACE_S)
