"""Bounds of a process that reads what a stranger wrote: memory, files, network, other programs.

A module of its own because `serl check` starts such a process: it must not load what else reads
answers.
"""

import contextlib
import resource

# Names of Python's audit events.
_NO_ACCESS = (
    "socket.connect",
    "socket.bind",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.fork",
)


def limit_resources(memory_mb: int) -> None:
    """Bound memory, forbid files and core dumps."""
    size = memory_mb * 2**20
    # No file may grow, which leaves the pipe to the parent.
    limits = ((resource.RLIMIT_AS, size), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0))
    for kind, limit in limits:
        # macOS refuses RLIMIT_AS; the deadline still holds there.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))


def refuse_access(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook: nothing that is read here may reach the network or start a program."""
    if event in _NO_ACCESS:
        raise PermissionError(f"{event} is not allowed in a process that reads what others wrote")
