"""What the studies share: arms, runs that are kept and resumed, intervals over seeds, and output.

A study trains each of its arms with each of its seeds, every run by commands that a user types, and
keeps all of it in `--work_dir`: a study that was cut off goes on where it stopped.
"""

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from serl_trl.common.intervals import student

ROOT = Path(__file__).parents[1]


# What an arm does is what is measured, to its planned end, a collapse too, on every question unless
# its own flags name a gate. No part of a note: runs from before there were guard and gate are the
# same runs.
BARE = ("--collapse_guard", "off", "--validity", "off")


@dataclass(frozen=True)
class Arm:
    """One way to train: the flags that make it, what it is, and its seeds (`None`: all)."""

    name: str
    what: str
    flags: tuple[str, ...] = ()
    num_seeds: int | None = None


def add_options(parser: argparse.ArgumentParser, arms: Sequence[Arm], **defaults: Any) -> None:
    """Add the options that every study has: of its runs, and of what it writes."""
    add_run_options(parser, arms, **defaults)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--figure", type=Path, default=None, help="write this picture")
    parser.add_argument("--results", type=Path, default=None, help="Markdown file to append to")


def add_run_options(parser: argparse.ArgumentParser, arms: Sequence[Arm], **defaults: Any) -> None:
    """Add the options of a study's runs; `defaults` are seeds, max_steps, jobs and work_dir."""
    parser.add_argument("--arms", default=",".join(arm.name for arm in arms))
    parser.add_argument("--seeds", default=defaults["seeds"])
    parser.add_argument("--max_steps", type=int, default=defaults["max_steps"])
    parser.add_argument("--jobs", type=int, default=defaults["jobs"], help="runs at a time")
    # A run starts in `ROOT`, where a relative path would be another one than here.
    work_dir = ROOT / "runs" / defaults["work_dir"]
    parser.add_argument("--work_dir", type=lambda text: Path(text).absolute(), default=work_dir)


def add_machine_options(parser: argparse.ArgumentParser, *, threads: int = 1) -> None:
    """Add the options that say what runs compute on."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=threads, help="of each run")


def chosen(
    parser: argparse.ArgumentParser, options: argparse.Namespace, arms: Sequence[Arm]
) -> tuple[list[Arm], list[int]]:
    """Return the arms and the seeds that `options` name."""
    named = options.arms.split(",")
    if unknown := set(named) - {arm.name for arm in arms}:
        known = ", ".join(arm.name for arm in arms)
        parser.error(f"--arms={','.join(sorted(unknown))}: not among {known}")
    if options.jobs < 1:
        parser.error(f"--jobs={options.jobs} must be at least 1")
    seeds = [int(seed) for seed in options.seeds.split(",")]
    return [arm for arm in arms if arm.name in named], seeds


def run_all(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    run: Callable[[Arm, int], dict[str, Any]],
    *,
    jobs: int,
) -> dict[str, list[dict[str, Any]]]:
    """Return what `run` returns for each run of each arm, by arm and in the order of its seeds."""
    with ThreadPoolExecutor(jobs) as pool:
        # Seeds outermost: a study that is cut off has whole comparisons.
        waiting = {
            (arm.name, seed): pool.submit(run, arm, seed)
            for place, seed in enumerate(seeds)
            for arm in arms
            if arm.num_seeds is None or place < arm.num_seeds
        }
        return {
            arm.name: [waiting[arm.name, seed].result() for seed in seeds[: arm.num_seeds]]
            for arm in arms
        }


def complete(
    command: Sequence[str], folder: Path, *, threads: int = 1, machine: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the report of `serl` with the arguments `command`; run it where there is none yet.

    The report, a log, and a note of the command lie beside `folder`, which the command writes to.
    All of it may be copied to another machine, and the study continued there: interpreter, place
    and the flags `machine`, which say what a run computes on or whether it is guarded, may differ.
    Raises `SystemExit` when they are of another command, or it ends without a report.
    """
    report, made_by, log = (Path(f"{folder}{end}") for end in (".json", ".command", ".log"))
    note = shlex.join(portable(command, folder.parent))
    if made_by.is_file() and made_by.read_text() != note:
        raise SystemExit(f"{folder} was made by other flags; move it away, or name a --work_dir")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made_by.write_text(note)
    name, *flags = command
    command = [sys.executable, "-m", "serl_trl.cli", name, *machine, *flags, "--json", str(report)]
    # The command writes its report last, and not in one piece.
    if not is_whole(report):
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        with log.open("a") as file:
            done = subprocess.run(
                command, check=False, cwd=ROOT, stderr=file, stdout=file, env=environment
            )
        if not is_whole(report):
            raise SystemExit(f"{folder.name}: exit code {done.returncode}; see {log}")
    return json.loads(report.read_text())


def portable(command: Sequence[str], work_dir: Path) -> list[str]:
    """Return the arguments with paths below `work_dir` or the repository relative to these."""
    found = list(command)
    # The work directory first: it mostly lies in the repository, and may lie elsewhere there.
    for folder, name in ((work_dir, "WORK"), (ROOT, "ROOT")):
        # A path may also stand after a name, as in `reviews=/somewhere/test.jsonl`.
        path = re.compile(rf"(^|=){re.escape(str(folder))}(?=/|$)")
        found = [path.sub(rf"\1{name}", argument) for argument in found]
    return found


def is_whole(report: Path) -> bool:
    """Whether a run's report is there, was written to its end, and is of a run that ended itself.

    A run that is stopped writes a report, too; the next call resumes it.
    """
    try:
        found = json.loads(report.read_text())
        return bool(found) and "stopped_by" not in found
    except (FileNotFoundError, json.JSONDecodeError):
        return False


def interval(values: Sequence[float], *, is_rate: bool = False) -> dict[str, Any]:
    """Return the mean of `values` with its 95 % t interval; one value has none (`None`).

    The interval of a rate is cut to [0, 1].
    """
    found = asdict(student(values))
    if is_rate and found["low"] is not None:
        found |= {"low": max(0.0, found["low"]), "high": min(1.0, found["high"])}
    return {**found, "values": list(values)}


def over_seeds(
    results: Sequence[dict[str, Any]],
    read: Callable[[dict[str, Any]], float | None],
    *,
    is_rate: bool = False,
) -> dict[str, Any] | None:
    """Return the `interval` of what `read` finds in each result; `None` where it finds nothing."""
    known = [value for result in results if (value := read(result)) is not None]
    return interval(known, is_rate=is_rate) if known else None


def as_text(value: dict[str, Any] | None) -> str:
    """Return "mean [low, high]" with three digits; without an interval the mean, or nothing."""
    if value is None:
        return ""
    shown = f"{value['mean']:.3f}"
    return shown if value["low"] is None else f"{shown} [{value['low']:.3f}, {value['high']:.3f}]"


def auc(higher: Sequence[float], lower: Sequence[float]) -> float:
    """Return the share of pairs in which the first has the higher score; ties count half."""
    below = np.subtract.outer(np.array(higher), np.array(lower))
    return float(((below > 0) + 0.5 * (below == 0)).mean())


def as_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table whose first row is its head."""
    head, *body = rows
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]


def made_on() -> dict[str, str]:
    """Return the day and the machine, for a summary."""
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    return {"date": date.today().isoformat(), "machine": machine}


def write(summary: dict[str, Any], text: str, options: argparse.Namespace) -> None:
    """Print the text, and write what `options` ask for but the figure."""
    sys.stdout.write(text)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(summary, indent=1) + "\n")
    if options.results:
        with options.results.open("a") as file:
            file.write(text)
