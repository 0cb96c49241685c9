"""What is each source of tasks good for? Arms with other `sources` on the hard sandbox.

All arms make as many steps of as many rollouts; what they sampled for these is counted. With
`--max_rollouts` they also sample as many at most. Runs are made, kept and resumed as in `hard.py`;
those of its arm `serl` may be copied here. A file of numbers that is there already keeps what other
studies wrote into it.

    python -m benchmarks.sources --json benchmarks/results/sources.json \\
        --results benchmarks/RESULTS.md
    python -m benchmarks.sources --arms serl,few_labels --seeds 1,2,3
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import hard
from benchmarks.sandbox import FIGURES, summarise_arm
from benchmarks.study import (
    Arm,
    add_machine_options,
    add_options,
    as_table,
    as_text,
    chosen,
    made_on,
    over_seeds,
    run_all,
    write,
)
from serl_trl import sandbox
from serl_trl.common.files import read_lines
from serl_trl.common.text import count_of
from serl_trl.propose.sources.registry import writes_new

# Why a proposal was no new one.
_OLD = ("duplicate", "normalised_duplicate", "template", "rouge_l", "embedding")
_LABELLED = ("--labelled_set", sandbox.HARD)
_UNLABELLED = ("--unlabelled_set", sandbox.HARD)

ARMS = (
    hard.SAME["serl"],
    Arm(
        "few_labels",
        "few_shot, and one task in twenty of 64 labelled rows",
        ("--sources", "few_shot: 0.95", "labelled: 0.05", *_LABELLED),
    ),
    Arm(
        "r_few",
        "the same, labelled rows also among the examples, weight 2",
        ("--sources", "few_shot(anchors=5): 0.95", "labelled(weight=2): 0.05", *_LABELLED),
    ),
    Arm("labelled", "the 64 labelled rows alone", ("--sources", "labelled", *_LABELLED)),
    Arm("unlabelled", "256 given questions, voted", ("--sources", "unlabelled", *_UNLABELLED)),
    Arm(
        "answer_first",
        "half of the problems written backwards",
        ("--sources", "few_shot: 0.5", "answer_first: 0.5"),
    ),
    Arm("retry", "told why the last ones were refused", ("--sources", "retry")),
)


def main() -> None:
    """Run what is missing, then write table and numbers."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add_options(parser, ARMS, seeds="1,2", max_steps=60, jobs=2, work_dir="sources")
    parser.add_argument("--max_rollouts", type=int, default=0, help="of each run; 0: no bound")
    add_machine_options(parser)
    options = parser.parse_args()
    arms, seeds = chosen(parser, options, ARMS)
    if options.max_rollouts:
        bound = ("--max_rollouts", str(options.max_rollouts))
        arms = [replace(arm, flags=(*arm.flags, *bound)) for arm in arms]
    runs = run_all(arms, seeds, partial(run, options), jobs=options.jobs)
    base = hard.base_over(runs)
    found = {arm.name: summarise(arm, runs[arm.name]) for arm in arms}
    summary = {
        **_earlier(options.json),
        "base": base,
        "sources": found,
        "seeds": len(seeds),
        "steps": options.max_steps,
        **made_on(),
    }
    write(summary, as_markdown(summary), options)


def run(options: argparse.Namespace, arm: Arm, seed: int) -> dict[str, Any]:
    """Return the figures of one run, with those of what it wrote."""
    found = hard.run(options, arm, seed)
    rows = read_lines(options.work_dir / f"{arm.name}-seed{seed}" / "_serl" / "ledger.jsonl")
    return {**found, **written(rows)}


def written(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Return how many of the problems that a run wrote are new, and how many of those are valid.

    `novel` is the share of the proposals that no filter of novelty refused, `valid` the share of
    the rolled out ones with an exact answer. `None` where a run wrote nothing.
    """
    proposals = [row for row in rows if row["type"] == "proposal"]
    # Runs from before groups named their source had one that writes.
    groups = [row for row in rows if row["type"] == "group" and writes_new(_source(row))]
    old = sum(row["reason"] in _OLD for row in proposals)
    valid = sum(row["gold"] is not None for row in groups)
    return {
        "novel": 1 - old / len(proposals) if proposals else None,
        "valid": valid / len(groups) if groups else None,
    }


def _source(group: dict[str, Any]) -> str:
    return group.get("source") or "few_shot"


def summarise(arm: Arm, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one arm's figures with their intervals over the seeds."""
    found = summarise_arm(arm, results)
    names = ("what", *FIGURES, "gain", "label_accuracy", "kept_label_accuracy", "seconds")
    rates = {name: over_seeds(results, lambda r, n=name: r[n], is_rate=True) for name in _RATES}
    return {**{name: found[name] for name in names}, **rates, "sampled": found["rollouts"]}


_RATES = ("valid", "novel")


def _earlier(path: Path | None) -> dict[str, Any]:
    """Return what a file of numbers holds; other studies have their parts in it."""
    return json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else {}


def as_markdown(summary: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    extent = f"{count_of(summary['seeds'], 'seed')}, {count_of(summary['steps'], 'step')}"
    head = f"\n## Sources, {summary['date']}\n\n`python -m benchmarks.sources`, {extent} of 128 "
    head += f"rollouts, {summary['machine']}. Hard sandbox, held-out 200, 16 samples at T = 1; "
    head += "mean over seeds, 95 % t interval.\n\n"
    rows = [["arm", *FIGURES, "label accuracy", *_RATES, "sampled", "s", "what it is"]]
    rows.append(
        ["base", *(as_text(summary["base"][name]) for name in FIGURES), *[""] * 5, "untrained"]
    )
    for name, figures in summary["sources"].items():
        cells = [as_text(figures[each]) for each in (*FIGURES, "label_accuracy", *_RATES)]
        cells += [f"{figures[each]['mean']:,.0f}" for each in ("sampled", "seconds")]
        rows.append([name, *cells, figures["what"]])
    return head + "\n".join(as_table(rows)) + "\n"


if __name__ == "__main__":
    main()
