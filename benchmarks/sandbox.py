"""Does the method work on the sandbox? Several arms beside the shipped model, several seeds.

Each run goes through `serl demo`, the door a user takes, and is kept in `--work_dir`: a benchmark
that was cut off goes on where it stopped.

    python benchmarks/sandbox.py --json benchmarks/results/sandbox.json
"""

import argparse
import json
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import fmean, stdev

ROOT = Path(__file__).parents[1]
FIGURES = ("pass@1", "maj@16", "pass@16", "greedy")
# The two-sided 95 % quantile of Student's t, by degrees of freedom: an interval over few seeds.
T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


@dataclass(frozen=True)
class Arm:
    """One way to train: the flags that make it, and what it shows."""

    name: str
    flags: tuple[str, ...]
    shows: str


ARMS = (
    Arm("serl", (), "the default: self-written prompts, vote"),
    Arm("random", ("--label_reward", "random"), "control: a fair coin as the reward"),
    Arm("rl_gold", ("--preset", "rl_gold"), "the 64 given prompts with gold labels"),
    Arm(
        "gold_generated", ("--label_reward", "gold"), "self-written prompts, exact solver's labels"
    ),
)


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--arms", default=",".join(arm.name for arm in ARMS))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--max_steps", type=int, default=None, help="default: the sandbox config's")
    parser.add_argument("--work_dir", type=Path, default=ROOT / "runs" / "benchmark")
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--results", type=Path, default=None, help="Markdown file to append to")
    options = parser.parse_args()
    names = options.arms.split(",")
    arms = [arm for arm in ARMS if arm.name in names]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    runs = {arm.name: [run(arm, seed, options) for seed in seeds] for arm in arms}
    summary = summarise(runs, seeds, options.max_steps)
    table = as_markdown(summary, {arm.name: arm.shows for arm in arms})
    sys.stdout.write(table)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(summary, indent=2) + "\n")
    if options.results:
        with options.results.open("a") as file:
            file.write(table)


def run(arm: Arm, seed: int, options: argparse.Namespace) -> dict:
    """Return the figures of one run; make it if it is not there yet."""
    folder = options.work_dir / f"{arm.name}-seed{seed}"
    figures = options.work_dir / f"{arm.name}-seed{seed}.json"
    if not figures.is_file():
        options.work_dir.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "serl_trl.cli", "demo", "--seed", str(seed), *arm.flags]
        command += ["--output_dir", str(folder), "--json", str(figures), "--overwrite", "true"]
        command += ["--save_strategy", "no"]
        if options.max_steps:
            command += ["--max_steps", str(options.max_steps)]
        subprocess.run(command, check=True, cwd=ROOT)
    return json.loads(figures.read_text())


def summarise(runs: dict[str, list[dict]], seeds: list[int], max_steps: int | None) -> dict:
    """Return mean and 95 % interval over seeds of every figure of every arm."""
    first = next(iter(runs.values()))
    arms = {"base": {name: interval([r["before"][name] for r in first]) for name in FIGURES}}
    for name, results in runs.items():
        arms[name] = {
            figure: interval([result["after"][figure] for result in results]) for figure in FIGURES
        }
        gains = [result["after"]["pass@1"] - result["before"]["pass@1"] for result in results]
        arms[name]["pass@1 gain"] = interval(gains)
        arms[name]["seconds"] = interval([result["seconds"] for result in results])
    return {
        "arms": arms,
        "seeds": seeds,
        "max_steps": max_steps,
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }


def interval(values: list[float]) -> dict[str, float]:
    """Return the mean of `values` with its 95 % t interval; one value has no width."""
    mean = fmean(values)
    half = 0.0
    if len(values) > 1:
        t = T_95.get(len(values) - 1, 1.96)
        half = t * stdev(values) / len(values) ** 0.5
    return {"mean": mean, "low": mean - half, "high": mean + half, "values": values}


def as_markdown(summary: dict, shows: dict[str, str]) -> str:
    """Return the table as Markdown."""
    seeds = ", ".join(map(str, summary["seeds"]))
    steps = summary["max_steps"] or "the config's"
    lines = [f"\n## Sandbox, {summary['date']}\n"]
    lines += [
        f"`python benchmarks/sandbox.py`, seeds {seeds}, {steps} steps, {summary['machine']}."
    ]
    lines += ["Mean over seeds with a 95 % t interval; held-out 200, 16 samples at T = 1.\n"]
    lines += ["| arm | pass@1 | maj@16 | pass@16 | greedy | what it is |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for name, figures in summary["arms"].items():
        cells = [as_text(figures[figure]) for figure in FIGURES]
        what = shows.get(name, "the shipped model")
        lines.append(f"| {name} | {' | '.join(cells)} | {what} |")
    return "\n".join(lines) + "\n"


def as_text(value: dict[str, float]) -> str:
    """Return "mean [low, high]" with three digits."""
    return f"{value['mean']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"


if __name__ == "__main__":
    main()
