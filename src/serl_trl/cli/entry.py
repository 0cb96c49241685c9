"""The `serl` command; `usage.py` lists what it does.

Exit codes: 0 the command did what it should, 1 the disk is full, a number is not finite, or the
engine samples from other weights (earlier checkpoints are whole), 2 bad input (all problems are
printed, and nothing was trained), 3 the run stopped because no proposal or group passed any more
(the model is saved), 4 the run stopped itself because an alarm rang (the last line names the
checkpoint or the step whose model is saved), 130 interrupted outside training or twice, 143 stopped
by SIGTERM or SIGINT (the last line names the checkpoint that --resume auto continues from, if there
is one).
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import NoReturn

from rich.console import Console

from serl_trl._version import __version__
from serl_trl.cli.usage import COMMANDS, HELP, HELP_ALL, USAGE, short_help, takes_run_options
from serl_trl.common.console import FAILED, INTERRUPTED, OK, STDOUT, report_problems, say
from serl_trl.common.disk import DiskFullError
from serl_trl.common.errors import LogProbGapError, NonFiniteError, SeRLConfigError
from serl_trl.common.folder import FolderError
from serl_trl.common.processes import is_main_process, leave_process_group
from serl_trl.common.startup import quick_imports
from serl_trl.common.text import near_matches, visible

# Commands whose time is that of their imports.
_LOOKS_ONLY = ("check", "plan", "serve")
# A word of Python's own cannot name a module.
_MODULES = {"try": "trial"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (by default the process's own arguments) names."""
    command, *rest = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    # What is said for people goes elsewhere where standard output is for the numbers alone.
    numbers = f"--json={STDOUT}" in rest or ("--json", STDOUT) in pairwise(rest)
    out = Console(quiet=not is_main_process(), stderr=numbers)
    if command in ("-h", "--help", "help"):
        out.print(USAGE, markup=False, highlight=False, end="")
        return OK
    if command in ("-V", "--version"):
        say(out, f"serl-trl {__version__}")
        return OK
    if command not in COMMANDS:
        return report_problems(
            command, [f"unknown command {visible(command)!r}.{near_matches(command, COMMANDS)}"]
        )
    if not {*HELP}.isdisjoint(rest):
        _show_help(command, out, whole=not {*HELP_ALL}.isdisjoint(rest))
    with quick_imports() if command in _LOOKS_ONLY else nullcontext():
        # The imports that are quickened happen inside the command.
        code = _run(command, rest, out)
        if code == OK:
            leave_process_group()
        if argv is None and command in _LOOKS_ONLY:
            _leave(code)
    return code


def _leave(code: int) -> NoReturn:
    """End this process without taking two thousand modules apart, which takes half a second.

    What a command that only looks has written is closed by then, but for its lines.
    """
    for stream in (sys.stdout, sys.stderr):
        # Python has none where the shell closed it.
        if stream is not None:
            stream.flush()
    os._exit(code)


def _run(command: str, argv: Sequence[str], out: Console) -> int:
    try:
        return _find(command)(argv, out)
    except SeRLConfigError as error:
        return report_problems(command, error.problems)
    except FolderError as error:
        return report_problems(command, [str(error)])
    except (DiskFullError, NonFiniteError, LogProbGapError) as error:
        report_problems(command, [str(error)])
        return FAILED
    except KeyboardInterrupt:
        say(Console(stderr=True, quiet=not is_main_process()), "interrupted")
        return INTERRUPTED


def _show_help(command: str, out: Console, *, whole: bool) -> NoReturn:
    """Print the help of `command` and leave; `whole` adds the options of TRL and transformers."""
    if not takes_run_options(command):
        _find(command)(["--help"], out)
    elif whole:
        from serl_trl.cli.command_options import OWN_OPTIONS
        from serl_trl.cli.parser import SeRLParser

        SeRLParser(prog=f"serl {command}", extra=OWN_OPTIONS.get(command)).print_help()
    else:
        out.print(short_help(command), markup=False, highlight=False, soft_wrap=True, end="")
    sys.exit(OK)


def _find(command: str) -> Callable[[Sequence[str], Console], int]:
    # Each command is a module, imported when it is asked for.
    module = _MODULES.get(command, command.replace("-", "_"))
    return importlib.import_module(f"serl_trl.cli.commands.{module}").run


if __name__ == "__main__":
    sys.exit(main())
