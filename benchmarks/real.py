"""A real language model on a real domain: what does each reward teach SmolLM2 about film reviews?

SmolLM2-135M-Instruct says of sentences from film reviews whether they are positive or negative. It
knows a little of it, and often answers with something else. Every arm trains it from the same
weights for the same number of steps of 8 texts x 8 votes; what is measured is 400 other texts,
which people rated. Each run is `serl train` and then `serl eval`, and is kept in `--work_dir`: a
study that was cut off, or killed, goes on where it stopped.

    python tools/real_model.py runs/smollm2
    python -m benchmarks.real --json benchmarks/results/real.json \\
        --figure benchmarks/results/real.png --results benchmarks/RESULTS.md
    python -m benchmarks.real --seeds 1,2,3,4,5 --wide
    python -m benchmarks.real --device cuda --threads 1 --wide --jobs 12 --seeds 1,2,3
    python -m benchmarks.real --device cuda --threads 1 --wide --seeds 1,2,3 --summary

The first two lines are `make real`. The third has every seed in every arm, and one more arm, for a
faster machine. On a GPU a model this small waits for its own launches, so that many runs share one:
on an H100 the twelve runs took 8 minutes, eight at a time; they keep no checkpoints. The last line
says what the finished runs of a study found that was cut off; it takes the flags of the study.
"""

import argparse
import hashlib
import json
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.study import (
    BARE,
    ROOT,
    Arm,
    add_machine_options,
    add_options,
    as_table,
    as_text,
    chosen,
    complete,
    is_whole,
    made_on,
    over_seeds,
    run_all,
    write,
)
from serl_trl.common.files import read_lines

DATA = ROOT.parent / "shared" / "data" / "movie_sentiment.jsonl"
CONFIG = ROOT / "configs" / "sentiment_cpu.yaml"
# Rows of each part, in the order in which they are taken.
PARTS = {"seeds": 64, "probe": 64, "test": 400}
LABELS = ("positive", "negative")
NUM_SAMPLES, TEXTS = 16, 8
FIGURES = ("pass@1", "maj@16", "pass@16", "greedy", "unparsable_rate")
# A run that is killed does at most so many steps again. A checkpoint is 1.6 GB; only one is kept.
SAVE_STEPS = 5
PROBE_STEPS, PROBE_SAMPLES = 10, 4
# Rows of a pass on a GPU: of a dozen runs each, without checkpoints of activations, then has room.
GPU_PASS = 16

GIVEN = ("--sources", "given")
ARMS = (
    Arm("serl", "the method: self-written texts, vote, band", num_seeds=2),
    Arm("random", "control: a fair coin as the reward", ("--label_reward", "random"), 2),
    Arm(
        "gold_given",
        "people's labels of the 64 given texts, no band",
        (*GIVEN, "--label_reward", "gold", "--use_band", "false"),
        1,
    ),
    Arm("vote_given", "vote on the 64 given texts only", GIVEN),
)
# `--wide` has them all.
NARROW = ("serl", "random", "gold_given")


def main() -> None:
    """Run what is missing, then write table and numbers."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add_options(parser, ARMS, seeds="1,2", max_steps=30, jobs=1, work_dir="real")
    parser.set_defaults(arms=",".join(NARROW))
    parser.add_argument("--wide", action="store_true", help="every arm, and with every seed")
    parser.add_argument("--model", type=Path, default=ROOT / "runs" / "smollm2")
    parser.add_argument("--data", type=Path, default=DATA, help="rated texts, one JSON a line")
    add_machine_options(parser, threads=2)
    parser.add_argument("--votes", type=int, default=8, help="of each text in a step")
    parser.add_argument("--flags", default="", help="further flags of every `serl train`")
    parser.add_argument("--summary", action="store_true", help="run nothing: what is finished?")
    # Faster only where the processor computes in it, as `lscpu` says: avx512_bf16 or amx_bf16.
    parser.add_argument("--bf16", choices=("true", "false"), default="true")
    options = parser.parse_args()
    if not (options.model / "config.json").is_file():
        parser.error(f"--model={options.model} is missing; python tools/real_model.py makes it")
    if not options.data.is_file():
        parser.error(f"--data={options.data} is missing; it holds text and label of each row")
    if options.wide:
        options.arms = ",".join(arm.name for arm in ARMS)
    arms, seeds = chosen(parser, options, ARMS)
    arms = [replace(arm, num_seeds=None) if options.wide else arm for arm in arms]
    if options.summary:
        base, runs = finished(options, arms, seeds)
        arms = [arm for arm in arms if arm.name in runs]
    else:
        split(options.data, options.work_dir)
        base, runs = measure_all(options, arms, seeds)
    summary = summarise(base, runs, arms, options.max_steps) | {"votes": options.votes}
    if options.device == "cuda":
        summary["machine"] = f"{device_name()}, {options.jobs} runs at a time"
    write(summary, as_markdown(summary), options)
    if options.figure:
        draw(summary, options.figure)


def measure_all(
    options: argparse.Namespace, arms: Sequence[Arm], seeds: Sequence[int]
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Return the figures of the base, and of every run by arm; run what is missing."""
    with ThreadPoolExecutor(1) as beside:
        base = beside.submit(measure, options, options.model, options.work_dir / "base")
        if options.jobs == 1:
            base.result()
        runs = run_all(arms, seeds, partial(run, options), jobs=options.jobs)
        return base.result(), runs


def finished(
    options: argparse.Namespace, arms: Sequence[Arm], seeds: Sequence[int]
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Return what `measure_all` does, of the runs that are trained and measured."""

    def is_done(folder: Path, *ends: str) -> bool:
        return all(is_whole(Path(f"{folder}{end}.json")) for end in ends)

    if not is_done(options.work_dir / "base", ""):
        raise SystemExit(f"the base is not measured yet in {options.work_dir}")
    runs = {
        arm.name: [
            run(options, arm, seed)
            for seed in seeds[: arm.num_seeds]
            if is_done(run_folder(options, arm, seed), "", "-eval")
        ]
        for arm in arms
    }
    base = measure(options, options.model, options.work_dir / "base")
    return base, {name: found for name, found in runs.items() if found}


def run_folder(options: argparse.Namespace, arm: Arm, seed: int) -> Path:
    """Return where a run writes to."""
    return options.work_dir / f"{arm.name}-seed{seed}"


def split(data: Path, folder: Path) -> None:
    """Write the parts of `data`, each with as many texts of one label as of the other.

    The rows of a label are taken in the order of a hash of their ids; repeats are left out.
    """
    rows = {row["text"].casefold(): row for row in read_lines(data)}
    ordered = sorted(rows.values(), key=lambda row: hashlib.sha256(row["id"].encode()).hexdigest())
    labelled = [[row for row in ordered if row["label"] == label] for label in LABELS]
    drawn = [row for pair in zip(*labelled, strict=False) for row in pair]
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in PARTS.items():
        part, drawn = drawn[:size], drawn[size:]
        lines = [json.dumps({"text": row["text"], "answer": row["label"]}) + "\n" for row in part]
        (folder / f"{name}.jsonl").write_text("".join(lines))


def run(options: argparse.Namespace, arm: Arm, seed: int) -> dict[str, Any]:
    """Return the figures of one run; train and measure what is not there yet."""
    folder, data = run_folder(options, arm, seed), options.work_dir
    command = ["train", "--config", str(CONFIG), "--model_name_or_path", str(options.model)]
    command += ["--seed_set", str(data / "seeds.jsonl"), "--seed", str(seed)]
    # What a text of the test is like is refused, should the model write it.
    command += ["--evaluation_sets", str(data / "test.jsonl")]
    command += ["--probe_set", str(data / "probe.jsonl"), "--probe_steps", str(PROBE_STEPS)]
    command += ["--probe_samples", str(PROBE_SAMPLES), "--max_steps", str(options.max_steps)]
    if options.device == "cuda":
        command += ["--use_cpu", "false", "--save_strategy", "no", "--overwrite", "true"]
    else:
        command += ["--save_steps", str(SAVE_STEPS), "--save_total_limit", "1", "--resume", "auto"]
    command += [*rows_of(options), "--output_dir", str(folder), "--bf16", options.bf16]
    command += [*arm.flags, *shlex.split(options.flags)]
    report = complete(command, folder, threads=options.threads, machine=BARE)
    measured = measure(options, folder, Path(f"{folder}-eval"))
    return {**measured, **read_run(folder), "seconds": report["seconds"]}


def rows_of(options: argparse.Namespace) -> list[str]:
    """Return the flags of a step's rows: nothing where the config has them already."""
    rows, size = TEXTS * options.votes, GPU_PASS if options.device == "cuda" else 8
    if (options.device, options.votes) == ("cpu", 8):
        return []
    flags = {"num_generations": options.votes, "per_device_train_batch_size": size}
    flags["gradient_accumulation_steps"] = rows // size
    return [each for name, value in flags.items() for each in (f"--{name}", str(value))]


def measure(options: argparse.Namespace, model: Path, folder: Path) -> dict[str, Any]:
    """Return the figures of a model on the test texts, each with its interval over texts."""
    test = options.work_dir / "test.jsonl"
    command = ["eval", str(model), "--config", str(CONFIG), "--num_samples", str(NUM_SAMPLES)]
    command += ["--benchmarks", "reviews", "--benchmark_files", f"reviews={test}"]
    command += ["--output_dir", str(folder), "--bf16", options.bf16]
    if options.device == "cuda":
        # As many rows at once as 64 texts have samples.
        command += ["--use_cpu", "false", "--gradient_accumulation_steps", "64"]
    report = complete(command, folder, threads=options.threads)
    return {"figures": report["benchmarks"]["reviews"]["figures"]}


def read_run(folder: Path) -> dict[str, Any]:
    """Return what a run's ledger and metrics say: its labels, what it wrote, and its probe."""
    metrics = read_lines(folder / "_serl" / "metrics.jsonl")
    rows = read_lines(folder / "_serl" / "ledger.jsonl")
    groups = [row for row in rows if row["type"] == "group"]
    judged = [row["label_right"] for row in groups if row["label_right"] is not None]
    proposals = [row["keep"] for row in rows if row["type"] == "proposal"]
    return {
        "label_accuracy": fmean(judged) if judged else None,
        "kept_ratio": fmean(row["keep"] for row in groups),
        "accepted": sum(proposals),
        "accepted_ratio": fmean(proposals) if proposals else None,
        "rollouts": sum(sum(row["answers"].values()) + row["num_unparsable"] for row in groups),
        "over_time": {
            row["step"]: row["serl/probe/pass@1"] for row in metrics if "serl/probe/pass@1" in row
        },
    }


def summarise(
    base: dict[str, Any], runs: dict[str, list[dict[str, Any]]], arms: Sequence[Arm], steps: int
) -> dict[str, Any]:
    """Return the figures of the base, and of each arm the mean of its runs.

    With several runs the interval is over seeds; with one, as for the base, over the texts.
    """
    return {
        "base": {name: base["figures"][name] for name in FIGURES},
        "arms": {arm.name: summarise_arm(arm, runs[arm.name]) for arm in arms},
        "seeds": max(map(len, runs.values()), default=0),
        "steps": steps,
        **made_on(),
    }


def device_name() -> str:
    """Return the name of the GPU."""
    # Imported late: a summary of runs on a CPU needs no torch.
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def summarise_arm(arm: Arm, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one arm's figures."""
    if len(results) == 1:
        measured = {name: results[0]["figures"][name] for name in FIGURES}
    else:
        measured = {
            name: over_seeds(results, lambda r, n=name: r["figures"][n]["mean"], is_rate=True)
            for name in FIGURES
        }
    rates, counted = ("label_accuracy", "kept_ratio", "accepted_ratio"), ("accepted", "rollouts")
    return {
        "what": arm.what,
        "num_seeds": len(results),
        **measured,
        **{name: over_seeds(results, lambda r, n=name: r[n], is_rate=True) for name in rates},
        **{name: over_seeds(results, lambda r, n=name: r[n]) for name in (*counted, "seconds")},
        "over_time": [
            {"step": step, "pass@1": over_seeds(results, lambda r, s=step: r["over_time"].get(s))}
            for step in sorted(set().union(*(result["over_time"] for result in results)))
        ],
    }


def as_markdown(summary: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    lines = [
        f"\n## A real model: SmolLM2-135M-Instruct on film reviews, {summary['date']}\n",
        f"`make real`, {summary['steps']} steps of {TEXTS} texts x "
        f"{summary.get('votes', 8)} votes, {summary['machine']}. "
        f"{PARTS['test']} test texts that people rated, {NUM_SAMPLES} samples each at T = 1 and "
        "one greedy. 95 % intervals: over seeds where there are several, else over the texts.\n",
    ]
    counted = ("label accuracy", "kept groups", "accepted texts", "sampled rollouts", "s")
    rows = [["arm", "seeds", *FIGURES[:-1], "unparsable", *counted, "what it is"]]
    for name, found in {"base": summary["base"], **summary["arms"]}.items():
        means = [found.get(each) for each in ("label_accuracy", "kept_ratio")]
        shown = [f"{each['mean']:.3f}" if each else "" for each in means]
        means = [found.get(each) for each in ("accepted", "rollouts", "seconds")]
        shown += [f"{each['mean']:,.0f}" if each else "" for each in means]
        figures = [as_text(found[figure]) for figure in FIGURES]
        what = found.get("what", "SmolLM2 as it is")
        rows.append([name, str(found.get("num_seeds", "")), *figures, *shown, what])
    return "\n".join([*lines, *as_table(rows)]) + "\n"


def draw(summary: dict[str, Any], path: Path) -> None:
    """Draw pass@1 on the probe texts over the steps, one line per arm."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4.5), constrained_layout=True)
    for name, found in summary["arms"].items():
        points = [(point["step"], point["pass@1"]["mean"]) for point in found["over_time"]]
        axis.plot(*zip(*points, strict=True), marker="o", label=name)
    axis.axhline(summary["base"]["pass@1"]["mean"], color="grey", linestyle=":", label="base, test")
    axis.set_xlabel("optimizer step")
    axis.set_ylabel(f"pass@1 on {PARTS['probe']} probe texts")
    axis.grid(alpha=0.3)
    axis.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
