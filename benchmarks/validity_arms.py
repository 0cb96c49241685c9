"""Arms of the study of the validity gate: hard sandbox runs with it, without it, and an oracle's.

Each is a run of `benchmarks.hard` with other options, kept and resumed in the same way.
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import hard
from benchmarks.sandbox import read_run, summarise_arm
from benchmarks.study import (
    Arm,
    add_machine_options,
    add_run_options,
    as_table,
    as_text,
    is_whole,
    run_all,
)
from serl_trl.common.files import read_lines

ARMS = (
    Arm("serl", "no gate", ("--validity", "off")),
    Arm(
        "gate",
        "the default: strict, and the first weights are asked about what it keeps",
        ("--validity", "auto"),
    ),
    Arm("careful", "what is probably broken is refused", ("--validity", "careful")),
    Arm(
        "strict",
        "most of what is kept is valid; the band ends below unanimity",
        ("--validity", "strict"),
        num_seeds=3,
    ),
    Arm(
        "wide_band",
        "no gate, the band from 0.5 to 15 of 16",
        ("--validity", "off", "--difficulty_low", "0.5", "--difficulty_high", "0.9375"),
    ),
    Arm(
        "oracle_gate",
        "no gate, but no problem without an answer is rolled out",
        (*next(a.flags for a in hard.ARMS if a.name == "oracle_gate"), "--validity", "off"),
    ),
)
# Runs of `benchmarks.hard` from before the gate are runs without it.
_IN_HARD = ("serl", "oracle_gate")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the arms."""
    add_run_options(parser, ARMS, seeds="1,2,3", max_steps=60, jobs=2, work_dir="validity")
    parser.add_argument(
        "--hard_dir", type=lambda text: Path(text).absolute(), help="finished runs without a gate"
    )
    add_machine_options(parser)


def arms(options: argparse.Namespace) -> dict[str, Any]:
    """Run what is missing, and return each arm's figures over its seeds."""
    named, known = set(options.arms.split(",")), [arm.name for arm in ARMS]
    if unknown := named.difference(known):
        raise SystemExit(f"--arms={','.join(sorted(unknown))}: not among {', '.join(known)}")
    chosen = [arm for arm in ARMS if arm.name in named]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    runs = run_all(chosen, seeds, partial(run, options), jobs=options.jobs)
    return {
        "arms": {arm.name: figures(arm, runs[arm.name]) for arm in chosen},
        "seeds": len(seeds),
        "steps": options.max_steps,
    }


def run(options: argparse.Namespace, arm: Arm, seed: int) -> dict[str, Any]:
    """Return the figures of one run: of `--hard_dir` where it lies there, else made."""
    if options.hard_dir and arm.name in _IN_HARD:
        folder = options.hard_dir / f"{arm.name}-seed{seed}"
        if is_whole(report := Path(f"{folder}.json")):
            found = json.loads(report.read_text())
            if found["steps"] == options.max_steps:
                return read_run(found, folder)
    found = hard.run(options, arm, seed)
    ledger = options.work_dir / f"{arm.name}-seed{seed}" / "_serl" / "ledger.jsonl"
    details = [row.get("detail", {}) for row in read_lines(ledger) if row["type"] == "group"]
    # What was asked about questions was sampled, too.
    asked = sum(detail.get("num_asked", 0) for detail in details)
    return {**found, "rollouts": found["rollouts"] + asked}


def figures(arm: Arm, results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return an arm's figures: rates with their intervals, the counts as means."""
    whole = summarise_arm(arm, results)
    # A label is right where the group has a gold answer and the vote finds it.
    right = whole["kept_label_accuracy"]["mean"] * (1 - whole["kept_no_gold_rate"]["mean"])
    return {
        "what": arm.what,
        "pass@1": whole["pass@1"],
        "maj@16": whole["maj@16"],
        "kept_without_gold": whole["kept_no_gold_rate"]["mean"],
        "labels_right": right,
        "sampled": whole["rollouts"]["mean"],
        "seconds": whole["seconds"]["mean"],
    }


def arms_text(found: dict[str, Any]) -> list[str]:
    """Return the part as Markdown, with the share of the distance from serl to the oracle's."""
    head = ["arm", "pass@1", "maj@16", "kept without gold", "labels right", "sampled"]
    rows = [[*head, "share of the oracle's gain", "what it is"]]
    ends = [found["arms"].get(name, {}).get("pass@1", {}).get("mean") for name in _IN_HARD]
    for name, each in found["arms"].items():
        cells = [name, as_text(each["pass@1"]), as_text(each["maj@16"])]
        cells += [f"{each['kept_without_gold']:.3f}", f"{each['labels_right']:.3f}"]
        cells.append(f"{each['sampled']:,.0f}")
        whole = ends[1] - ends[0] if None not in ends else 0
        cells.append(f"{(each['pass@1']['mean'] - ends[0]) / whole:.0%}" if whole else "")
        rows.append([*cells, each["what"]])
    return [f"{found['seeds']} seeds, {found['steps']} steps.", "", *as_table(rows)]
