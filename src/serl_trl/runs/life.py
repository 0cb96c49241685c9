"""Does a run still train? What its folder says of it, without touching anything."""

import os
import re
import socket

from serl_trl.common.files import PRIVATE_FOLDER
from serl_trl.common.folder import Folder
from serl_trl.runs.reader import Run, number_in

# Written when a run has reached its planned end, and taken away when it is continued.
FINISHED = "finished.json"
# Locked for as long as a process trains in the folder; it names the process.
LOCK = "lock"

# Unknown where another machine trains, or none is named: its process cannot be looked at.
RUNS, FINISHED_RUN, STARVED_RUN, GONE, UNKNOWN = "runs", "finished", "starved", "gone", "unknown"


def life_of(run: Run) -> str:
    """Return whether a run trains (`RUNS`), has ended, or was killed or stopped (`GONE`).

    A process that ended is found by its number on this machine. The lock itself is not tried, since
    that would refuse a run that begins at the same moment.
    """
    inside = Folder(run.folder)
    if inside.has(f"{PRIVATE_FOLDER}/{FINISHED}"):
        return FINISHED_RUN
    process = holder_of(inside)
    if process is not None and _lives(process):
        return RUNS
    # After the process: a resumed run keeps the record of the time when it found no group.
    if process is None:
        return UNKNOWN
    if run.ledger.starved is not None:
        return STARVED_RUN
    return FINISHED_RUN if _reached_its_end(run) else GONE


def _reached_its_end(run: Run) -> bool:
    """Return whether a run without the mark did all it should: scripts of the user leave none."""
    planned = number_in(run.config, "max_steps") or -1
    if planned > 0:
        return run.num_steps >= planned or bool(run.ledger.spent or run.ledger.ended)
    # Logged once, when training is over; of a run without a plan that is all that is known.
    return bool(run.metrics) and "train_runtime" in run.metrics[-1]


def holder_of(inside: Folder) -> int | None:
    """Return the process of this machine that trained last in the folder; `None` if unknown."""
    name = f"{PRIVATE_FOLDER}/{LOCK}"
    text = inside.read_text(name, max_bytes=1000) if inside.has(name) else ""
    # ASCII: Python counts digits of other scripts as digits too.
    found = re.fullmatch(r"process (\d{1,9}) on (\S{1,253})", text.strip(), re.ASCII)
    if not found or found[2] != socket.gethostname():
        return None
    return int(found[1])


def _lives(process: int) -> bool:
    try:
        # Signal 0 is not sent: the call only says whether there is such a process.
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
