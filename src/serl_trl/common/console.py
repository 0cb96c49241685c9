"""What the commands share: exit codes, plain lines, problems to stderr, JSON to a file."""

import argparse
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console

from serl_trl.common.files import finite
from serl_trl.common.processes import is_main_process
from serl_trl.common.secrets import redacted
from serl_trl.common.text import count_of, visible

if TYPE_CHECKING:
    from rich.progress import Progress

# The last two are what a shell gives for SIGINT and SIGTERM (128 + the number of the signal).
OK, FAILED, BAD_INPUT, STARVED, COLLAPSED, INTERRUPTED, STOPPED = 0, 1, 2, 3, 4, 130, 143

# The path that means the standard output.
STDOUT = "-"


class UsageError(ValueError):
    """Flags that cannot be read."""


class Parser(argparse.ArgumentParser):
    """A parser that raises `UsageError` instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of ending the process."""
        raise UsageError(message)


def say(out: Console, text: str) -> None:
    """Print one line as it is: no markup, no colours for numbers, no line breaks."""
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def progress_bar(console: Console, *, show: bool) -> "Progress":
    """Return a bar with a count and the time that is left; what comes after it takes its place."""
    # Loaded here: most commands draw no bar.
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    return progress.Progress(*columns, console=console, transient=True, disable=not show)


def label_of(name: str, options: Collection[str]) -> str:
    """Return how a number is labelled: an option by its own name, anything else in words."""
    return name if name in options else name.replace("_", " ")


def report_problems(command: str, problems: Sequence[str]) -> int:
    """Print all problems to stderr and return the exit code for bad input."""
    # Every process of a run finds the same problems; one of them says so.
    # A terminal folds long lines itself; lines that we broke could not be copied.
    err = Console(
        stderr=True, quiet=not is_main_process(), soft_wrap=True, highlight=False, markup=False
    )
    err.print(f"serl {visible(command)}: {count_of(len(problems), 'problem')}", style="bold red")
    for problem in problems:
        err.print("- " + redacted(visible(problem)).replace("\n", "\n  "))
    return BAD_INPUT


def write_json(path: str | None, report: Mapping[str, Any]) -> None:
    """Write `report` to `path` from the main process; `None` as path writes nothing."""
    if path is not None and is_main_process():
        write_text(path, json.dumps(finite(report), indent=2) + "\n")


def write_text(path: str, text: str) -> None:
    """Write `text` to `path`, whose folder is made if it does not exist, or to standard output."""
    if path == STDOUT:
        sys.stdout.write(text)
        return
    target = Path(path).expanduser()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
