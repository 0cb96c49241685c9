"""`serl watch RUN`: a run's folder as it fills, from another terminal; nothing is written there."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live

from serl_trl.common.console import (
    COLLAPSED,
    FAILED,
    OK,
    STARVED,
    Parser,
    UsageError,
    report_problems,
    say,
)
from serl_trl.common.processes import is_main_process
from serl_trl.report.live import alike, live_blocks, standing, step_lines
from serl_trl.report.terminal import rendered
from serl_trl.report.warnings import warnings_while_running
from serl_trl.runs.life import GONE, RUNS, STARVED_RUN, UNKNOWN, life_of
from serl_trl.runs.reader import Run, RunReader

# What a run that ended badly gives this command, for a script that waits for it.
_CODES = {STARVED_RUN: STARVED, GONE: FAILED}


def run(argv: Sequence[str], out: Console) -> int:
    """Follow a run until it ends; Ctrl-C leaves, and the run trains on."""
    parser = Parser(
        prog="serl watch",
        description="Follow a run until it ends: numbers, warnings and last texts. Reads only.",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="the output_dir of a run")
    parser.add_argument(
        "--every", type=float, default=2.0, metavar="SECONDS", help="look so often; default 2"
    )
    parser.add_argument(
        "--plain", action="store_true", help="one line a step, as without a terminal"
    )
    try:
        args = parser.parse_args(argv)
        # Not to keep a disk busy that the run writes to.
        if not args.every >= 0.1:
            raise ValueError(f"every={args.every:g} must be at least 0.1 seconds; 2 is usual.")
        if not is_main_process():
            return OK
        reader = RunReader(Path(args.run).expanduser())
    except (UsageError, ValueError, OSError) as error:
        return report_problems("watch", [str(error)])
    follow = _follow_plainly if args.plain or not out.is_terminal else _follow_live
    with suppress(KeyboardInterrupt):
        return follow(reader, args.every, out)
    return OK


def _follow(reader: RunReader, every: float, show: Callable[[Run, str], None]) -> int:
    """Show the run as it is again and again; return the exit code of how it ended."""
    while True:
        # First its life: what it wrote before it ended is then read for certain.
        seen = reader.look()
        life = life_of(seen)
        if life not in (RUNS, UNKNOWN):
            seen = reader.look()
        show(seen, life)
        if life not in (RUNS, UNKNOWN):
            ended = seen.ledger.ended
            return COLLAPSED if ended and ended.collapsed else _CODES.get(life, OK)
        time.sleep(every)


def _follow_live(reader: RunReader, every: float, out: Console) -> int:
    with Live(console=out, auto_refresh=False, vertical_overflow="crop") as live:
        return _follow(
            reader,
            every,
            lambda seen, life: live.update(Group(*rendered(live_blocks(seen, life))), refresh=True),
        )


def _follow_plainly(reader: RunReader, every: float, out: Console) -> int:
    printed, told = 0, set()

    def show(seen: Run, life: str) -> None:
        nonlocal printed
        for step, line in step_lines(seen, printed):
            say(out, line)
            printed = step
        for text in warnings_while_running(seen):
            # Once each, though its numbers change from step to step.
            if alike(text) not in told:
                told.add(alike(text))
                say(out, f"warning: {text}")
        if life not in (RUNS, UNKNOWN):
            say(out, standing(seen, life))
        # Whoever reads along through a pipe is not kept waiting.
        out.file.flush()

    return _follow(reader, every, show)
