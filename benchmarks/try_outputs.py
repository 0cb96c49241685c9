"""What `serl try` says of four untrained models: both sandboxes, and SmolLM2 on two domains.

    python tools/real_model.py runs/smollm2
    python -m benchmarks.try_outputs --results benchmarks/RESULTS.md
    python -m benchmarks.try_outputs --only "The hard sandbox" --results benchmarks/RESULTS.md

Each output replaces the section of its name in the Markdown file, which has to be there.
"""

import argparse
import json
import os
import re
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.real import DATA, split
from benchmarks.study import ROOT
from serl_trl import sandbox

OWN, MODEL = "runs/try/arithmetic.yaml", ("--model_name_or_path", "runs/smollm2")
REVIEWS = ("--seed_set", "runs/try/seeds.jsonl", "--probe_set", "runs/try/probe.jsonl")
TRIALS = {
    "The easy sandbox": ("--config", "configs/sandbox_cpu.yaml"),
    "The hard sandbox": ("--config", "configs/sandbox_hard_cpu.yaml"),
    "SmolLM2, arithmetic in words": ("--config", OWN),
    "SmolLM2, film reviews": ("--config", "configs/sentiment_cpu.yaml", *MODEL, *REVIEWS),
}


def main() -> None:
    """Run the trials in turn, and write each section as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", choices=TRIALS, action="append", help="may be repeated")
    parser.add_argument("--data", type=Path, default=DATA, help="rated texts, one JSON a line")
    parser.add_argument("--results", type=Path, required=True, help="Markdown file to fill in")
    options = parser.parse_args()
    split(options.data, ROOT / "runs/try")
    seeds = (ROOT / OWN).with_suffix(".jsonl")
    rows = (json.dumps({"question": text}) + "\n" for text in sandbox.seed_set())
    seeds.write_text("".join(rows))
    (ROOT / OWN).unlink(missing_ok=True)
    serl("init", "--seed_set", str(seeds), "--output", OWN, "--machine", "cpu", *MODEL)
    for name in options.only or TRIALS:
        section = f"### {name}\n\n{tried(TRIALS[name])}\n"
        place = re.compile(rf"^### {re.escape(name)}\n.*?(?=^##|\Z)", re.MULTILINE | re.DOTALL)
        text = options.results.read_text()
        options.results.write_text(place.sub(lambda _, new=section: new, text, count=1))


def tried(flags: tuple[str, ...]) -> str:
    """Return command, seconds and page of one trial."""
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    page = serl("try", *flags, "--seed", "1")
    whole, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    took = f"{whole:.0f} s, {after.ru_utime - before.ru_utime:.0f} s of them on the processor"
    lines = "\n".join(line.rstrip() for line in page.strip().splitlines())
    return f"`serl try {shlex.join(flags)} --seed 1`: {took}.\n\n```text\n{lines}\n```\n"


def serl(*command: str) -> str:
    """Return what a command prints in a terminal of 80 columns."""
    # On a busy machine threads wait for each other: one is faster than two.
    environment = {**os.environ, "COLUMNS": "80", "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "serl_trl.cli", *command]
    return subprocess.run(
        line, check=True, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ).stdout


if __name__ == "__main__":
    main()
