"""Does the hard sandbox tell strategies apart? Arms that ought to differ, and how surely they do.

The untrained model was measured by `tools/pretrain.py`. The arms run as in `sandbox.py`, and are
kept and resumed in the same way; runs that are done may be copied to another machine.

    python -m benchmarks.hard --json benchmarks/results/hard.json \\
        --figure benchmarks/results/hard.png --results benchmarks/RESULTS.md
    python -m benchmarks.hard --device cuda --jobs 8
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from itertools import combinations
from statistics import fmean, variance
from typing import Any

from benchmarks.sandbox import ARMS as EASY_ARMS
from benchmarks.sandbox import FIGURES, draw, read_run, summarise_arm, transition_table
from benchmarks.study import (
    BARE,
    Arm,
    add_machine_options,
    add_options,
    as_table,
    as_text,
    chosen,
    complete,
    interval,
    made_on,
    run_all,
    write,
)
from serl_trl import sandbox
from serl_trl.common.text import count_of
from serl_trl.filters.registry import default_filters

PROBE_STEPS, CLOSE_PROBES = 20, 10  # the latter where a run rises and falls
# Two standard errors of a difference tell two arms apart.
APART = 2.0
SEPARATED = ("gold_generated", "serl", "oracle_gate", "random")
SAME = {arm.name: arm for arm in EASY_ARMS}
ARMS = (
    SAME["serl"],
    Arm("gold_generated", "exact labels on those with an answer", ("--label_reward", "gold")),
    Arm(
        "oracle_gate",
        "serl, but no problem without an answer is rolled out",
        ("--proposal_filters", ",".join((*default_filters, "serl_trl.sandbox.check_sound"))),
    ),
    SAME["random"],
    SAME["no_novelty"],
    Arm(
        "fast_no_band",
        "six times the rate, no band",
        ("--learning_rate", "3e-4", "--use_band", "false", "--probe_steps", str(CLOSE_PROBES)),
    ),
)


def main() -> None:
    """Run what is missing, then write table, figures and numbers."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add_options(parser, ARMS, seeds="1,2,3,4,5", max_steps=60, jobs=2, work_dir="hard")
    add_machine_options(parser)
    options = parser.parse_args()
    arms, seeds = chosen(parser, options, ARMS)
    runs = run_all(arms, seeds, partial(run, options), jobs=options.jobs)
    summary = summarise(runs, arms, seeds, options.max_steps)
    write(summary, as_markdown(summary, runs), options)
    if options.figure:
        pictured = {**summary, "arms": {"base": base_over(runs), **summary["arms"]}}
        draw({**pictured, "max_steps": options.max_steps}, options.figure)


def run(options: argparse.Namespace, arm: Arm, seed: int) -> dict[str, Any]:
    """Return the figures of one run; make it if it is not there yet."""
    folder = options.work_dir / f"{arm.name}-seed{seed}"
    command = ["demo", "--config", sandbox.HARD, "--seed", str(seed), "--resume", "auto"]
    command += ["--max_steps", str(options.max_steps), "--save_steps", str(PROBE_STEPS)]
    command += ["--probe_steps", str(PROBE_STEPS), "--probe_samples", "16"]
    command += ["--output_dir", str(folder), *arm.flags]
    machine = ["--use_cpu", str(options.device == "cpu").lower(), *BARE]
    return read_run(complete(command, folder, threads=options.threads, machine=machine), folder)


def summarise(
    runs: dict[str, list[dict[str, Any]]],
    arms: Sequence[Arm],
    seeds: Sequence[int],
    max_steps: int,
) -> dict[str, Any]:
    """Return the base's figures, every arm's over its seeds, and how surely pairs differ."""
    folder = sandbox.MODEL_PATHS[sandbox.HARD]
    measured = json.loads((folder / "measured.json").read_text(encoding="utf-8"))
    won = measured["heldout"]["kind_maj_at_k"].values()
    base = {
        **{name: figure["mean"] for name, figure in base_over(runs).items()},
        "vote_wrong_kinds": fmean(share < 0.5 for share in won),
        "invalid_proposals": 1 - measured["proposals"]["solvable_ratio"],
        "faults": measured["proposals"]["faults"],
    }
    table = {arm.name: summarise_arm(arm, runs[arm.name]) for arm in arms}
    for figures in table.values():
        figures["kept_without_gold"] = figures.pop("kept_no_gold_rate")
    return {
        "base": base,
        "arms": table,
        "pairs": [
            pair(one, other, runs)
            for one, other in combinations(SEPARATED, 2)
            if {one, other} <= {*runs}
        ],
        "seeds": len(seeds),
        "steps": max_steps,
        **made_on(),
    }


def base_over(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the untrained model's figures, over the seeds of the first arm."""
    first = next(iter(runs.values()))
    return {name: interval([r["before"][name] for r in first], is_rate=True) for name in FIGURES}


def pair(one: str, other: str, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return by how many standard errors two arms differ in pass@1 and in maj@16.

    The standard error is that of a difference of two means over seeds, the arms' variances unequal.
    `None` with fewer than two seeds.
    """
    found: dict[str, Any] = {"pair": [one, other]}
    for name in ("pass@1", "maj@16"):
        values = [[result["after"][name] for result in runs[arm]] for arm in (one, other)]
        difference = fmean(values[0]) - fmean(values[1])
        found[name] = {"difference": difference, "standard_errors": None}
        if min(map(len, values)) > 1:
            error = sum(variance(each) / len(each) for each in values) ** 0.5
            found[name]["standard_errors"] = difference / error if error else None
    found["apart"] = any(
        abs(found[name]["standard_errors"] or 0) >= APART for name in ("pass@1", "maj@16")
    )
    return found


def as_markdown(summary: dict[str, Any], runs: dict[str, list[dict[str, Any]]]) -> str:
    """Return the tables as Markdown."""
    base = summary["base"]
    lines = [f"\n## Hard sandbox, {summary['date']}\n"]
    lines += [
        f"`python -m benchmarks.hard`, {count_of(summary['seeds'], 'seed')}, "
        f"{count_of(summary['steps'], 'step')} of 128 rollouts, {summary['machine']}."
    ]
    lines += ["Mean over seeds with a 95 % t interval; held-out 200, 16 samples at T = 1."]
    lines += [
        f"The base's vote is wrong on {100 * base['vote_wrong_kinds']:.0f} % of the kinds of "
        f"problem; {100 * base['invalid_proposals']:.0f} % of its proposals have no valid answer.\n"
    ]
    head = ["arm", *FIGURES, "label accuracy", "kept without gold", "phrasings", "sampled", "s"]
    rows = [[*head, "what it is"]]
    rows.append(
        ["base", *(f"{base[name]:.3f}" for name in FIGURES), *[""] * 5, "the shipped model"]
    )
    for name, figures in summary["arms"].items():
        cells = [as_text(figures[figure]) for figure in FIGURES]
        cells += [as_text(figures["label_accuracy"]), as_text(figures["kept_without_gold"])]
        cells += [f"{figures[n]['mean']:,.0f}" for n in ("phrasings", "rollouts", "seconds")]
        rows.append([name, *cells, figures["what"]])
    pairs = [["pair", "pass@1", "standard errors", "maj@16", "standard errors", "apart"]]
    for each in summary["pairs"]:
        cells = []
        for figure in ("pass@1", "maj@16"):
            errors = each[figure]["standard_errors"]
            cells += [
                f"{each[figure]['difference']:+.3f}",
                "" if errors is None else f"{errors:+.1f}",
            ]
        pairs.append([" - ".join(each["pair"]), *cells, "yes" if each["apart"] else "no"])
    table = transition_table(summary["arms"])
    return "\n".join([*lines, *as_table(rows), *table, "", *as_table(pairs)]) + "\n"


if __name__ == "__main__":
    main()
