"""Which label hardens the fewest errors? All labellers on the hard sandbox, the best for longer.

The screen trains every labeller with three seeds and 60 steps. The final trains the two best of the
screen, the hard vote and gold with six seeds and 120 steps. Runs are made, kept and resumed as in
`hard.py`; those of its arms `serl` and `gold_generated` may be copied into the screen's folder. The
best are those with the largest mean of pass@1 and maj@16: pass@1 alone rewards hardening.

    python -m benchmarks.labels --json benchmarks/results/labels.json \\
        --figure benchmarks/results/labels.png --results benchmarks/RESULTS.md
    python -m benchmarks.labels --stage screen --arms serl,soft_vote --device cuda --jobs 8
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import hard
from benchmarks.sandbox import FIGURES, draw, summarise_arm, transition_table
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
from serl_trl.labels.registry import LABELLERS
from serl_trl.measure.transitions import TRANSITIONS
from tools.measure import measure_answers

# The hard vote as it is by default, and the labels that self-play cannot know.
HARD_VOTE, GOLD = "serl", "gold_generated"
NUM_FINALISTS = 2
# At least this share of gold's gain, and at most this share of the problems the hard vote loses.
OF_GOLD, OF_LOST = 0.95, 1 / 3


# The arms above, a control that `hard.py` measures, no labels at all, and what has an arm below.
ELSEWHERE = ("vote", "gold", "random", "none", "novelty_vote", "paraphrase_vote")
ARMS = (
    *(arm for arm in hard.ARMS if arm.name in (HARD_VOTE, GOLD)),
    *(
        Arm(name, labeller.meaning, ("--label_reward", name))
        for name, labeller in LABELLERS.items()
        if name not in ELSEWHERE
    ),
    # The sandbox's model tells its stories anew: its names may change, its numbers may not.
    Arm(
        "paraphrase_vote",
        "labels of the question in other words",
        ("--label_reward", "paraphrase_vote(keep_names=False)"),
    ),
    Arm("gated_soft_vote", "from half of the votes on", ("--label_reward", "soft_vote(gate=0.5)")),
    Arm("masked_vote", "the hard vote, no gradient on the answer", ("--mask_answer", "true")),
    Arm("om_grpo", "soft vote, no gradient on the answer", ("--preset", "om_grpo")),
    Arm("evol_rl", "variety among the winners, entropy bonus", ("--preset", "evol_rl")),
)


def main() -> None:
    """Run what is missing, then write table, figure and numbers."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add_options(parser, ARMS, seeds="1,2,3", max_steps=60, jobs=2, work_dir="labels")
    parser.add_argument("--stage", choices=("screen", "final", "both"), default="both")
    parser.add_argument("--final_seeds", default="1,2,3,4,5,6")
    parser.add_argument("--final_steps", type=int, default=120)
    parser.add_argument("--finalists", default="", help="names; those of the screen if empty")
    add_machine_options(parser)
    options = parser.parse_args()
    summary: dict[str, Any] = {"default": HARD_VOTE, **made_on()}
    text = f"\n## Labels, {summary['date']}\n\n`python -m benchmarks.labels`, {summary['machine']}."
    text += " Hard sandbox, held-out 200, 16 samples at T = 1; mean over seeds, 95 % t interval.\n"
    stages = ("screen", "final") if options.stage == "both" else (options.stage,)
    for stage in stages:
        if stage == "final":
            names = options.finalists.split(",") if options.finalists else finalists(summary)
            options.arms = ",".join(dict.fromkeys([HARD_VOTE, GOLD, *names]))
            options.seeds, options.max_steps = options.final_seeds, options.final_steps
        found, runs = study(parser, options, stage)
        base = {**hard.base_over(runs), "wrong_kinds": {"mean": wrong_kinds(base_kinds())}}
        summary |= {"base": base, stage: found}
        text += as_markdown(stage, summary["base"], found)
    summary["judged"] = judged(summary["base"], summary.get("final", {}))
    summary["default"] = next(
        (n for n, j in summary["judged"].items() if all(j.values())), HARD_VOTE
    )
    text += f"\nDefault: {summary['default']}.\n"
    write({**summary, **{stage: slim(summary[stage]) for stage in stages}}, text, options)
    if options.figure:
        arms = {"base": summary["base"], **summary[stages[-1]]}
        draw({"arms": arms, "max_steps": options.max_steps}, options.figure)


def study(
    parser: argparse.ArgumentParser, options: argparse.Namespace, stage: str
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Return the figures of each arm of a stage, and its runs; make the runs that are missing."""
    arms, seeds = chosen(parser, options, ARMS)
    # Apart, because an arm has the same name with other steps.
    own = argparse.Namespace(**{**vars(options), "work_dir": options.work_dir / stage})
    runs = run_all(arms, seeds, partial(run, own, by_kind=stage == "final"), jobs=options.jobs)
    return {
        arm.name: {
            **summarise(arm, runs[arm.name]),
            "seeds": len(seeds),
            "steps": options.max_steps,
        }
        for arm in arms
    }, runs


def run(options: argparse.Namespace, arm: Arm, seed: int, *, by_kind: bool) -> dict[str, Any]:
    """Return the figures of one run, its rollouts with those that only the labeller asked for."""
    found = hard.run(options, arm, seed)
    folder = options.work_dir / f"{arm.name}-seed{seed}"
    metrics = read_lines(folder / "_serl" / "metrics.jsonl")
    counted = [row["serl/num_rollouts"] for row in metrics if "serl/num_rollouts" in row]
    return {
        **found,
        "rollouts": counted[-1] if counted else found["rollouts"],
        "wrong_kinds": wrong_kinds(kinds_of(folder, options.device)) if by_kind else None,
    }


def kinds_of(folder: Path, device: str) -> dict[str, float]:
    """Return pass@1 of a run's model by kind of problem; measured once, and kept beside the run."""
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    kept = Path(f"{folder}.kinds.json")
    if not kept.is_file():
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        rows = sandbox.heldout(sandbox.HARD)
        figures = measure_answers(model, tokenizer, rows, group_size=16, seed=0)
        kept.write_text(json.dumps(figures.kind_pass_at_1) + "\n")
    return json.loads(kept.read_text())


def base_kinds(figure: str = "kind_pass_at_1") -> dict[str, float]:
    """Return a figure of the untrained model by kind of problem."""
    measured = sandbox.MODEL_PATHS[sandbox.HARD] / "measured.json"
    return json.loads(measured.read_text(encoding="utf-8"))["heldout"][figure]


def wrong_kinds(kinds: dict[str, float]) -> float:
    """Return the mean of a figure over the kinds of problem that the base's vote gets wrong."""
    won = base_kinds("kind_maj_at_k")
    return fmean(value for kind, value in kinds.items() if won[kind] < 0.5)


def summarise(arm: Arm, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return one arm's figures, each transition with its interval over the seeds."""
    found = summarise_arm(arm, results)
    per_step = {
        f"{name}_per_step": over_seeds(results, lambda r, n=name: r[n] / max(1, r["steps"]))
        for name in ("rollouts", "seconds")
    }
    wrong = over_seeds(results, lambda result: result.get("wrong_kinds"), is_rate=True)
    return {**found, **per_step, "wrong_kinds": wrong}


def slim(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures that the file of numbers has, without what is only drawn."""
    drawn = ("over_time", "label_accuracy_over_time", "phrasings_over_time")
    return {
        name: {key: value for key, value in each.items() if key not in drawn}
        for name, each in figures.items()
    }


def finalists(summary: dict[str, Any]) -> list[str]:
    """Return the labellers of the screen with the largest mean of pass@1 and maj@16."""

    def worth(name: str) -> float:
        return sum(summary["screen"][name][figure]["mean"] for figure in ("pass@1", "maj@16"))

    names = [name for name in summary["screen"] if name not in (HARD_VOTE, GOLD)]
    return sorted(names, key=worth, reverse=True)[:NUM_FINALISTS]


def judged(base: dict[str, Any], final: dict[str, Any]) -> dict[str, dict[str, bool]]:
    """Return which conditions of a default each finalist meets; empty without the arms they need.

    They are a share of gold's gain in pass@1, maj@16 and pass@16 not below the lower bound of the
    base, pass@1 not below the base's in the kinds that the base's vote gets wrong, and few problems
    lost beside the hard vote.
    """
    if not {HARD_VOTE, GOLD} <= final.keys():
        return {}
    gain = final[GOLD]["gain"]["mean"]
    lost = lost_share(final[HARD_VOTE])
    return {
        name: {
            "gain": each["gain"]["mean"] >= OF_GOLD * gain,
            # With one seed there is no bound.
            **{n: each[n]["mean"] >= (base[n]["low"] or base[n]["mean"]) for n in FIGURES[1:3]},
            "wrong_kinds": (each["wrong_kinds"] or {"mean": 0.0})["mean"]
            >= base["wrong_kinds"]["mean"],
            "lost": lost_share(each) <= OF_LOST * lost,
        }
        for name, each in final.items()
        if name not in (HARD_VOTE, GOLD)
    }


def lost_share(figures: dict[str, Any]) -> float:
    """Return the share of problems that an arm lost; 1 where its runs did not note it."""
    return (figures["transitions"] or {}).get(TRANSITIONS[3], 1.0)


def as_markdown(stage: str, base: dict[str, Any], found: dict[str, Any]) -> str:
    """Return the table of a stage."""
    some = next(iter(found.values()))
    head = [
        "arm",
        *FIGURES,
        "wrong kinds",
        "label accuracy",
        "rollouts a step",
        "s a step",
        "what it is",
    ]
    rows = [head, ["base", *(as_text(base[name]) for name in FIGURES)]]
    rows[1] += [f"{base['wrong_kinds']['mean']:.3f}", *[""] * 3, "untrained"]
    for name, figures in found.items():
        cells = [as_text(figures[each]) for each in (*FIGURES, "wrong_kinds", "label_accuracy")]
        cells += [f"{figures[n]['mean']:,.0f}" for n in ("rollouts_per_step", "seconds_per_step")]
        rows.append([name, *cells, figures["what"]])
    extent = f"{count_of(some['seeds'], 'seed')}, {count_of(some['steps'], 'step')}"
    title = f"\n### The {stage}: {extent}\n"
    return "\n".join([title, *as_table(rows), *transition_table(found)]) + "\n"


if __name__ == "__main__":
    main()
