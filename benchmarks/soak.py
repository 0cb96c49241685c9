"""Does a run survive being killed, and does a long one stay small? Both on the sandbox.

    python benchmarks/soak.py kill --results benchmarks/RESULTS.md
    python benchmarks/soak.py steps --results benchmarks/RESULTS.md

`kill` trains once undisturbed, and once killed with SIGKILL at seeded random moments, every second
one aimed at the writing of a checkpoint; both must end alike to the byte. `steps` trains many small
steps, in each of which the worker that compares answers has work, and watches the process from
outside. Exit code 1 when a promise is broken.
"""

import argparse
import hashlib
import itertools
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from serl_trl.answers.verifier import Verifier
from serl_trl.common.files import read_lines
from serl_trl.train.checkpoint import list_checkpoints, saving_folder

ROOT = Path(__file__).parents[1]
TIMES = ("serl/time/", "step_time", "train_runtime", "train_samples_per", "train_steps_per")
# A step of a quarter of a second.
SMALL = {
    "num_generations": 4,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "max_completion_length": 32,
    "proposer_max_tokens": 64,
    "num_requests": 2,
    "difficulty_low": 0.4,
    "difficulty_high": 1.0,
    "probe_steps": 0,
    "disable_tqdm": "true",
    "save_total_limit": 2,
    # The sentinel set is looked at, and nothing ends a run before its planned step.
    "collapse_guard": "warn",
}
SAVE_S = 0.12
"""About how long a save takes here, in seconds: a kill falls anywhere in it."""


def main() -> int:
    """Run one of the two, show its table and append it to a file."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("what", choices=("kill", "steps"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=None, help="default: 60 and 2000")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work_dir", type=Path, default=ROOT / "runs" / "soak")
    parser.add_argument("--results", type=Path, default=None, help="Markdown file to append to")
    options = parser.parse_args()
    shutil.rmtree(options.work_dir, ignore_errors=True)
    options.work_dir.mkdir(parents=True)
    kept, text = (soak_kill if options.what == "kill" else soak_steps)(options)
    text = (
        f"\n## Soak ({options.what}), {date.today().isoformat()}\n\n"
        f"`python benchmarks/soak.py {options.what}`, seed {options.seed}, {platform.machine()}, "
        f"Python {platform.python_version()}.\n\n{text}"
    )
    sys.stdout.write(text)
    if options.results:
        with options.results.open("a", encoding="utf-8") as file:
            file.write(text)
    return 0 if kept else 1


def start(folder: Path, **flags: object) -> subprocess.Popen:
    """Start a run in `folder`, or go on with the one that is there."""
    config = ROOT / "configs" / "sandbox_cpu.yaml"
    command = [sys.executable, "-m", "serl_trl.cli", "train", "--config", str(config)]
    for name, value in {**SMALL, **flags, "output_dir": folder, "resume": "auto"}.items():
        command += [f"--{name}", str(value)]
    with (folder.parent / f"{folder.name}.log").open("a") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


# Killing.


@dataclass(frozen=True)
class Kill:
    """The step of the newest checkpoint at a kill, and whether another was being written."""

    step: int
    saving: bool


def soak_kill(options: argparse.Namespace) -> tuple[bool, str]:
    """Kill a run again and again, and compare its end with that of an undisturbed one."""
    rng = random.Random(options.seed)
    flags = {"max_steps": options.steps or 60, "save_steps": 1, "seed": options.seed}
    whole, killed = options.work_dir / "whole", options.work_dir / "killed"
    started = time.perf_counter()
    if start(whole, **flags).wait():
        raise SystemExit(f"the undisturbed run failed, see {whole}.log")
    kills: list[Kill] = []
    while len(kills) < options.kills:
        process = start(killed, **flags)
        moment = "save" if len(kills) % 2 else "any"
        if not wait_for(process, killed, moment, rng):
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        checkpoints = list_checkpoints(killed)
        step = int(checkpoints[-1].name.removeprefix("checkpoint-")) if checkpoints else 0
        saving = any(saving_folder(killed).glob("*"))
        kills.append(Kill(step, saving))
    if start(killed, **flags).wait():
        raise SystemExit(f"the killed run failed, see {killed}.log")
    ends = {run.name: ending(run) for run in (whole, killed)}
    rows = []
    for part, expected in ends["whole"].items():
        same = "identical" if ends["killed"][part] == expected else "DIFFERENT"
        rows.append(f"| {part} | {same} |")
    steps = [r["step"] for r in read_lines(killed / "_serl" / "metrics.jsonl") if "loss" in r]
    once = steps == list(range(1, flags["max_steps"] + 1))
    rows.append(f"| each of {flags['max_steps']} steps logged once | {'yes' if once else 'NO'} |")
    enough = len(kills) == options.kills
    kept = once and enough and ends["whole"] == ends["killed"]
    lines = [
        f"{len(kills)} of {options.kills} kills, {sum(kill.saving for kill in kills)} of them "
        f"during a save; newest checkpoint at each: {', '.join(str(k.step) for k in kills)}. "
        f"{time.perf_counter() - started:.0f} s.\n",
        "| killed against undisturbed | |",
        "| --- | --- |",
        *rows,
    ]
    return kept, "\n".join(lines) + "\n"


def wait_for(process: subprocess.Popen, run: Path, moment: str, rng: random.Random) -> bool:
    """Wait until the moment of the kill; return whether the process still lives then."""
    ledger, before = run / "_serl" / "ledger.jsonl", checkpoints_and_bytes(run)
    # A process that has not begun to train cuts the ledger back, at most; then it grows.
    while process.poll() is None and checkpoints_and_bytes(run) == before:
        time.sleep(0.002)
    if moment == "any":
        time.sleep(rng.uniform(0, 2))
        return process.poll() is None
    for _ in range(rng.randint(1, 3)):
        while process.poll() is None and any(saving_folder(run).glob("*")):
            time.sleep(0.002)
        while process.poll() is None and not any(saving_folder(run).glob("checkpoint-*")):
            time.sleep(0.002)
    time.sleep(rng.uniform(0, SAVE_S))
    return process.poll() is None and ledger.exists()


def checkpoints_and_bytes(run: Path) -> tuple[int, int]:
    ledger = run / "_serl" / "ledger.jsonl"
    return len(list_checkpoints(run)), ledger.stat().st_size if ledger.exists() else 0


def ending(run: Path) -> dict[str, object]:
    """Return what two runs must share at their end."""
    metrics = [
        {key: value for key, value in record.items() if not key.startswith(TIMES)}
        for record in read_lines(run / "_serl" / "metrics.jsonl")
    ]
    return {
        "weights": digest(run / "model.safetensors"),
        "ledger": digest(run / "_serl" / "ledger.jsonl"),
        "metrics, times aside": metrics,
        "optimizer": digest(list_checkpoints(run)[-1] / "optimizer.pt"),
    }


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# A long run.


@dataclass(frozen=True)
class Sample:
    """What a run holds at one moment; memory and checkpoint in MB, `ledger` and `log` in bytes."""

    step: int
    memory: float
    files: int
    workers: int
    worker_memory: float
    ledger: int
    log: int
    checkpoint: float


_numbers = itertools.count(2)
_verifier = Verifier()


def ask_worker(completions: list[Any], **_: Any) -> list[float]:
    """A reward of nothing; gives the worker pairs that it has not seen."""
    numbers = itertools.islice(_numbers, 4)
    _verifier.same([(f"\\sqrt{{{n}}}", f"{n}^{{1/2}}") for n in numbers])
    return [0.0] * len(completions)


def soak_steps(options: argparse.Namespace) -> tuple[bool, str]:
    """Train many small steps; what the process holds must not grow with them."""
    steps = options.steps or 2000
    run = options.work_dir / "long"
    # Pools of 250 steps: in a pool that only grows, everything new is soon too much like the old.
    flags = {"instructions_per_iteration": 500, "logging_steps": 5, "save_steps": 50}
    flags |= {"reward_funcs": "benchmarks.soak.ask_worker", "plugins": "benchmarks"}
    started = time.perf_counter()
    process = start(run, max_steps=steps, seed=options.seed, **flags)
    samples: list[Sample] = []
    while process.poll() is None:
        time.sleep(1)
        try:
            samples.append(sample(psutil.Process(process.pid), run))
        except (psutil.Error, OSError, IndexError):
            continue  # not yet trained, or just ended
    if process.returncode:
        raise SystemExit(f"the run ended with code {process.returncode}, see {run}.log")
    seconds = time.perf_counter() - started
    early = [s for s in samples if 0.1 * steps <= s.step <= 0.35 * steps]
    late = [s for s in samples if s.step >= 0.75 * steps]
    rows, kept = [], True
    # Files as a rule: a sample may fall into the writing of a checkpoint.
    held = [("memory", max, 1.1), ("files", median, 1), ("workers", median, 1)]
    for name, pick, most in (*held, ("worker_memory", max, 1.1)):
        old, new = (pick([getattr(s, name) for s in part]) for part in (early, late))
        kept &= new <= old * most
        rows.append(f"| {LABELS[name]} | {old:.0f} | {new:.0f} |")
    for name in ("ledger", "log"):
        old, new = (growth(part, name) for part in (early, late))
        kept &= new <= old * 1.5
        rows.append(f"| {LABELS[name]} | {old:.0f} | {new:.0f} |")
    old, new = (max(s.checkpoint for s in part) for part in (early, late))
    kept &= new <= old * 1.2
    rows.append(f"| biggest checkpoint, MB | {old:.1f} | {new:.1f} |")
    lines = [
        f"{steps} steps in {seconds:.0f} s, {len(samples)} samples.\n",
        "| | steps 10 % to 35 % | last quarter |",
        "| --- | --- | --- |",
        *rows,
    ]
    return bool(kept), "\n".join(lines) + "\n"


LABELS = {
    "memory": "most resident memory, MB",
    "files": "open files, median",
    "workers": "child processes, median",
    "worker_memory": "most resident memory of a child process, MB",
    "ledger": "ledger, bytes a step",
    "log": "metrics file, bytes a step",
}


def sample(process: psutil.Process, run: Path) -> Sample:
    """Look at a running process and its folder."""
    private = run / "_serl"
    newest = list_checkpoints(run)[-1]
    metrics = private / "metrics.jsonl"
    workers = process.children(recursive=True)
    return Sample(
        step=last_step(metrics),
        memory=process.memory_info().rss / 1e6,
        files=process.num_fds(),
        workers=len(workers),
        worker_memory=max((each.memory_info().rss / 1e6 for each in workers), default=0),
        ledger=(private / "ledger.jsonl").stat().st_size,
        log=metrics.stat().st_size,
        checkpoint=sum(path.stat().st_size for path in newest.iterdir()) / 1e6,
    )


def last_step(metrics: Path) -> int:
    """Return the step of the last whole line of a metrics file."""
    with metrics.open("rb") as file:
        file.seek(max(0, metrics.stat().st_size - 20_000))
        lines = file.read().split(b"\n")
    return int(lines[-2].split(b'"step": ')[1].split(b",")[0])


def growth(samples: list[Sample], name: str) -> float:
    """Return the bytes a file grew per step."""
    first, last = samples[0], samples[-1]
    return (getattr(last, name) - getattr(first, name)) / max(1, last.step - first.step)


if __name__ == "__main__":
    sys.exit(main())
