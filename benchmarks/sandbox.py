"""Does the method work, and what is each of its parts worth? The study on the built-in sandbox.

Every arm trains on the same number of rollouts from the same model. Each run goes through `serl
demo`, the door a user takes, and is kept in `--work_dir`: a study that was cut off goes on where it
stopped, a run with its newest checkpoint.

    python -m benchmarks.sandbox --json benchmarks/results/sandbox.json \\
        --figure benchmarks/results/sandbox.png --results benchmarks/RESULTS.md
    python -m benchmarks.sandbox --quick
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.study import (
    BARE,
    Arm,
    add_options,
    as_table,
    as_text,
    chosen,
    complete,
    interval,
    made_on,
    over_seeds,
    run_all,
    write,
)
from serl_trl.common.files import read_lines
from serl_trl.measure.transitions import TRANSITIONS
from serl_trl.sandbox import num_phrasings, seed_set

FIGURES = ("pass@1", "maj@16", "pass@16", "greedy")
PROBE_STEPS = 10

ARMS = (
    Arm("serl", "self-written prompts, vote, band, novelty; no gate"),
    Arm(
        "paper",
        "the paper's rules at the sandbox's learning rate",
        ("--preset", "paper", "--beta", "1e-4"),
    ),
    Arm("vote_given", "vote on the 64 given prompts only", ("--preset", "rl_vote")),
    Arm("gold_generated", "self-written prompts, exact labels", ("--label_reward", "gold")),
    Arm("gold_given", "the 64 given prompts, exact labels, no band", ("--preset", "rl_gold")),
    Arm("random", "control: a fair coin as the reward", ("--label_reward", "random")),
    Arm("no_band", "serl without the difficulty band", ("--use_band", "false")),
    Arm(
        "no_novelty",
        "serl without novelty, copies allowed",
        ("--novelty", "plain", "--max_rouge_l", "1"),
    ),
    Arm("seeds_16", "serl from 16 seeds instead of 64", ("--seed_set", "{sixteen}")),
    Arm("gate", "serl with the default gate on questions", ("--validity", "auto")),
)
QUICK = ("serl", "gold_generated", "random")


def main() -> None:
    """Run what is missing, then write table, figures and numbers."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add_options(parser, ARMS, seeds="1,2,3", max_steps=40, jobs=2, work_dir="study")
    parser.add_argument("--quick", action="store_true", help="three arms, one seed, 20 steps")
    options = parser.parse_args()
    if options.quick:
        options.arms, options.seeds, options.max_steps = ",".join(QUICK), "1", 20
        options.work_dir = options.work_dir.with_name("study-quick")
    arms, seeds = chosen(parser, options, ARMS)
    options.work_dir.mkdir(parents=True, exist_ok=True)
    sixteen = options.work_dir / "seeds_16.jsonl"
    sixteen.write_text("".join(json.dumps({"problem": s}) + "\n" for s in seed_set()[:16]))
    runs = run_all(arms, seeds, partial(run, options), jobs=options.jobs)
    summary = summarise(runs, arms, seeds, options.max_steps)
    write(summary, as_markdown(summary), options)
    if options.figure:
        draw(summary, options.figure)


def run(options: argparse.Namespace, arm: Arm, seed: int) -> dict[str, Any]:
    """Return the figures of one run; make it if it is not there yet."""
    folder = options.work_dir / f"{arm.name}-seed{seed}"
    command = ["demo", "--seed", str(seed), "--max_steps", str(options.max_steps)]
    command += ["--save_steps", str(PROBE_STEPS), "--probe_steps", str(PROBE_STEPS)]
    command += ["--probe_samples", "16", "--output_dir", str(folder), "--resume", "auto"]
    sixteen = options.work_dir / "seeds_16.jsonl"
    command += [flag.format(sixteen=sixteen) for flag in arm.flags]
    return read_run(complete(command, folder, machine=BARE), folder)


def read_run(report: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return what one run's report, metrics and ledger say."""
    metrics = [row for row in read_lines(folder / "_serl" / "metrics.jsonl") if "reward" in row]
    rows = read_lines(folder / "_serl" / "ledger.jsonl")
    groups = [row for row in rows if row["type"] == "group"]
    accepted = [row["text"] for row in rows if row["type"] == "proposal" and row["keep"]]
    judged = [row for row in groups if row["label_right"] is not None]
    kept = [row for row in groups if row["keep"]]

    def share_right(records: Sequence[dict[str, Any]]) -> float | None:
        hits = [row["label_right"] for row in records]
        return fmean(hits) if hits else None

    over_time = [
        {"step": row["step"], **{name: row[f"serl/probe/{name}"] for name in FIGURES[:3]}}
        for row in metrics
        if "serl/probe/pass@1" in row
    ]
    measured = json.loads((folder / "_serl" / "evaluation.json").read_text(encoding="utf-8"))
    recent = [accepted[i : i + 200] for i in range(0, len(accepted) - 199, 200)]
    return {
        "before": report["before"],
        "after": report["after"],
        # Runs of earlier versions did not note it.
        "transitions": measured.get("transitions"),
        "steps": report["steps"],
        "starved": bool(report["starved"]),
        "seconds": report["seconds"],
        "label_accuracy": share_right(judged),
        "kept_label_accuracy": share_right([row for row in judged if row["keep"]]),
        # Problems without an exact answer, as 45 shared by 6: the vote has a label for them, too.
        "no_gold_rate": fmean(row["gold"] is None for row in groups),
        "kept_no_gold_rate": fmean(row["gold"] is None for row in kept) if kept else None,
        "first_label_accuracy": share_right([row for row in judged if row["step"] == 0]),
        "rollouts": sum(sum(row["answers"].values()) + row["num_unparsable"] for row in groups),
        "accepted": len(accepted),
        "phrasings": num_phrasings(accepted),
        "phrasings_over_time": [num_phrasings(part) for part in recent],
        "over_time": [{"step": 0, **{n: report["before"][n] for n in FIGURES[:3]}}, *over_time],
        "label_accuracy_over_time": [
            {"step": row["step"], "label_accuracy": row.get("serl/label_accuracy")}
            for row in metrics
        ],
    }


def summarise(
    runs: dict[str, list[dict[str, Any]]],
    arms: Sequence[Arm],
    seeds: Sequence[int],
    max_steps: int,
) -> dict[str, Any]:
    """Return mean and 95 % interval over seeds of every figure of every arm."""
    first = next(iter(runs.values()))
    measured = {
        name: interval([r["before"][name] for r in first], is_rate=True) for name in FIGURES
    }
    labels = interval([r["first_label_accuracy"] for r in first], is_rate=True)
    what = "the shipped model; its labels are those of the first step"
    table: dict[str, Any] = {"base": {"what": what, **measured, "label_accuracy": labels}}
    for arm in arms:
        table[arm.name] = summarise_arm(arm, runs[arm.name])
    gold = table.get("gold_generated")
    if gold:
        for figures in table.values():
            if "gain" in figures:
                figures["share_of_gold_gain"] = figures["gain"]["mean"] / gold["gain"]["mean"]
    return {
        "arms": table,
        "seeds": list(seeds),
        "max_steps": max_steps,
        **made_on(),
    }


def summarise_arm(arm: Arm, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one arm's figures, means over its seeds."""
    over = partial(over_seeds, results)
    after = {name: over(lambda r, n=name: r["after"][n], is_rate=True) for name in FIGURES}
    rates = ("label_accuracy", "kept_label_accuracy", "no_gold_rate", "kept_no_gold_rate")
    counted = ("rollouts", "accepted", "phrasings", "steps", "seconds")
    # A run that ended early has no later points: those are means over the others.
    longest = max((result["over_time"] for result in results), key=len)
    probes = [
        {
            "step": point["step"],
            **{
                n: interval(
                    [r["over_time"][i][n] for r in results if i < len(r["over_time"])],
                    is_rate=True,
                )
                for n in FIGURES[:3]
            },
        }
        for i, point in enumerate(longest)
    ]
    last = min(result["steps"] for result in results)
    labels = [
        label_point(results, first, first + PROBE_STEPS)
        for first in range(0, last - PROBE_STEPS + 1, PROBE_STEPS)
    ]
    return {
        "what": arm.what,
        **after,
        "gain": over(lambda r: r["after"]["pass@1"] - r["before"]["pass@1"]),
        **{name: over(lambda r, n=name: r[n], is_rate=True) for name in rates},
        **{name: over(lambda r, n=name: r[n]) for name in counted},
        "transitions": transition_shares(results),
        "starved": sum(result["starved"] for result in results),
        "over_time": probes,
        "label_accuracy_over_time": labels,
        "phrasings_over_time": phrasing_points(results),
    }


def transition_shares(results: Sequence[dict[str, Any]]) -> dict[str, float] | None:
    """Return the share of problems that made each transition, the mean over the runs.

    `None` unless all of them noted it; see `serl_trl.measure.transitions`.
    """
    found = [result.get("transitions") for result in results]
    if not all(found):
        return None
    return {
        name: fmean(counts[name] / sum(counts.values()) for counts in found) for name in TRANSITIONS
    }


def transition_table(arms: dict[str, Any]) -> list[str]:
    """Return the lines of a Markdown table of the arms' transitions; none where none is known."""
    rows = [
        [name, *(f"{share:.3f}" for share in shares.values())]
        for name, figures in arms.items()
        if (shares := figures.get("transitions"))
    ]
    head = ["share of the problems", *TRANSITIONS]
    return ["", *as_table([head, *rows])] if rows else []


def label_point(results: Sequence[dict[str, Any]], first: int, end: int) -> dict[str, Any]:
    """Return the label accuracy of the steps after `first` up to `end`, over the seeds."""
    means = []
    for result in results:
        known = [
            point["label_accuracy"]
            for point in result["label_accuracy_over_time"][first:end]
            if point["label_accuracy"] is not None
        ]
        if known:
            means.append(fmean(known))
    return {"step": end, "label_accuracy": interval(means, is_rate=True)}


def phrasing_points(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the phrasings among each 200 accepted instructions, as far as every seed has them."""
    columns = zip(*(result["phrasings_over_time"] for result in results), strict=False)
    return [
        {"accepted": 200 * (i + 1), "phrasings": interval([float(n) for n in column])}
        for i, column in enumerate(columns)
    ]


def as_markdown(summary: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    seeds = ", ".join(map(str, summary["seeds"]))
    lines = [f"\n## Sandbox study, {summary['date']}\n"]
    lines += [
        f"`python -m benchmarks.sandbox`, seeds {seeds}, {summary['max_steps']} steps of 128 "
        f"rollouts, {summary['machine']}."
    ]
    lines += ["Mean over seeds with a 95 % t interval; held-out 200, 16 samples at T = 1.\n"]
    head = ["arm", *FIGURES, "label accuracy", "of the kept", "kept without gold", "phrasings"]
    rows = [[*head, "sampled rollouts", "steps", "s", "what it is"]]
    for name, figures in summary["arms"].items():
        cells = [as_text(figures[figure]) for figure in FIGURES]
        cells.append(as_text(figures["label_accuracy"]))
        for rate in ("kept_label_accuracy", "kept_no_gold_rate"):
            value = figures.get(rate)
            cells.append(f"{value['mean']:.3f}" if value else "")
        for count in ("phrasings", "rollouts", "steps", "seconds"):
            value = figures.get(count)
            cells.append(f"{value['mean']:,.0f}" if value and value["mean"] else "")
        rows.append([name, *cells, figures["what"]])
    table = transition_table(summary["arms"])
    return "\n".join([*lines, *as_table(rows), *table]) + "\n"


def draw(summary: dict[str, Any], path: Path) -> None:
    """Draw what changes over time, one line per arm."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    step = "optimizer step"
    panels = (
        ("pass@1", "over_time", "step", "pass@1, held out", step),
        ("maj@16", "over_time", "step", "maj@16, held out", step),
        ("pass@16", "over_time", "step", "pass@16, held out", step),
        ("label_accuracy", "label_accuracy_over_time", "step", "label accuracy", step),
        ("phrasings", "phrasings_over_time", "accepted", "phrasings in 200", "accepted so far"),
    )
    figure, axes = plt.subplots(1, 5, figsize=(24, 5), constrained_layout=True)
    arms = {name: arm for name, arm in summary["arms"].items() if name != "base"}
    for axis, (name, series, along, title, label) in zip(axes, panels, strict=True):
        if base := summary["arms"]["base"].get(name):
            axis.axhline(base["mean"], color="grey", linestyle=":", label="base")
        for number, (arm, figures) in enumerate(arms.items()):
            draw_arm(axis, arm, number, figures[series], name, along)
        axis.set_title(title)
        axis.set_xlabel(label)
        if along == "step":
            axis.set_xlim(0, 1.02 * summary["max_steps"])
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw_arm(
    axis: Any, arm: str, number: int, points: list[dict[str, Any]], name: str, along: str
) -> None:
    """Draw one line; shaded where the intervals of a few arms can be told apart."""
    where = [point[along] for point in points]
    colour = "black" if arm == "serl" else f"C{number % 10}"
    axis.plot(
        where,
        [point[name]["mean"] for point in points],
        label=arm,
        color=colour,
        linewidth=2.5 if arm == "serl" else 1.2,
        linestyle="--" if arm == "random" else "-",
    )
    if (
        arm in ("serl", "gold_generated", "random")
        and points
        and points[0][name]["low"] is not None
    ):
        low, high = ([point[name][end] for point in points] for end in ("low", "high"))
        axis.fill_between(where, low, high, color=colour, alpha=0.15, linewidth=0)


if __name__ == "__main__":
    main()
