"""What self-play costs beside plain GRPO on the same number of trained rollouts.

Three trainers on the sandbox with the same sizes: TRL's `GRPOTrainer` on the given prompts, ours on
the given prompts (so that vote and ledger are all that differs), and ours with self-play, whose
proposing and refused groups are counted apart. Seconds, in turns, median of the rounds.

    python benchmarks/overhead.py --results benchmarks/RESULTS.md
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from serl_trl import SeRLConfig, SeRLTrainer, extract_answer
from serl_trl.prompts import rollout_messages
from serl_trl.sandbox import STYLE, load_model, load_tokenizer, seed_set, solve

SIZES: dict[str, Any] = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "logging_steps": 1,
    "per_device_train_batch_size": 64,
    "gradient_accumulation_steps": 2,
    "num_generations": 16,
    "max_completion_length": 64,
    "learning_rate": 5e-5,
    "lr_scheduler_type": "constant",
    "beta": 0.0,
}
TEXTS = {
    "domain": STYLE.domain,
    "proposer_system": STYLE.proposer_system,
    "proposer_request": STYLE.proposer_request,
    "answer_instruction": STYLE.answer_instruction,
}


@dataclass(frozen=True)
class Cost:
    """Seconds per step; `apart_s` is the part that plain GRPO has no counterpart for."""

    whole_s: float
    apart_s: float = 0.0
    own_s: float = 0.0


def main() -> None:
    """Run all three in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--results", type=Path, default=None, help="Markdown file to append to")
    options = parser.parse_args()
    costs: dict[str, list[Cost]] = {"plain": [], "given": [], "self_play": []}
    for _ in range(options.rounds):
        costs["plain"].append(plain(options.steps))
        costs["given"].append(ours(options.steps, prompt_source="given", use_band=False))
        costs["self_play"].append(ours(options.steps, prompt_source="self_play"))
    table = as_markdown(costs, options)
    sys.stdout.write(table)
    if options.results:
        with options.results.open("a") as file:
            file.write(table)


def plain(steps: int) -> Cost:
    """Time TRL's own trainer on the given prompts, rewarded by the exact answer."""
    rows = [
        {"prompt": rollout_messages(text, STYLE), "gold": solve(text) or ""} for text in seed_set()
    ]

    def right(completions: list[Any], gold: list[str], **_: Any) -> list[float]:
        answers = [extract_answer(each[0]["content"]) for each in completions]
        return [float(answer == truth) for answer, truth in zip(answers, gold, strict=True)]

    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(output_dir=folder, max_steps=steps, **SIZES)
        trainer = GRPOTrainer(
            load_model(), right, config, Dataset.from_list(rows), processing_class=load_tokenizer()
        )
        return Cost(timed(trainer) / steps)


def ours(steps: int, **options: Any) -> Cost:
    """Time our trainer; what was generated for proposals and refused groups is counted apart."""
    with tempfile.TemporaryDirectory() as folder:
        config = SeRLConfig(
            output_dir=folder,
            max_steps=steps,
            proposer_max_tokens=256,
            max_per_template=0,
            **SIZES,
            **TEXTS,
            **options,
        )
        trainer = SeRLTrainer(load_model(), config, seed_set(), processing_class=load_tokenizer())
        whole = timed(trainer)
        rows = [row for row in trainer.state.log_history if "serl/num_groups" in row]
    trained = config.prompts_per_batch
    wasted = [
        row["serl/time/rollout_s"] * (1 - min(1.0, trained / row["serl/num_groups"]))
        for row in rows
    ]
    apart = sum(row["serl/time/propose_s"] for row in rows) + sum(wasted)
    own = sum(row["serl/time/own_s"] for row in rows)
    return Cost(whole / steps, apart / steps, own / steps)


def timed(trainer: GRPOTrainer) -> float:
    """Train and return the seconds it took."""
    start = time.perf_counter()
    trainer.train()
    return time.perf_counter() - start


def as_markdown(costs: dict[str, list[Cost]], options: argparse.Namespace) -> str:
    """Return the table as Markdown."""
    names = {
        "plain": "GRPOTrainer, given prompts",
        "given": "SeRLTrainer, given prompts, no band",
        "self_play": "SeRLTrainer, self-play",
    }
    base = median(cost.whole_s for cost in costs["plain"])
    lines = [f"\n## Overhead over plain GRPO, {date.today().isoformat()}\n"]
    lines += [
        f"`python benchmarks/overhead.py`, {options.steps} steps of 128 trained rollouts, in "
        f"turns, median of {options.rounds} rounds. Apart: proposals, refused rollouts.\n"
    ]
    lines += ["| trainer | s a step | apart | rest | rest / plain | filters, votes, ledger |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for name, rounds in costs.items():
        whole = median(cost.whole_s for cost in rounds)
        apart = median(cost.apart_s for cost in rounds)
        rest = median(cost.whole_s - cost.apart_s for cost in rounds)
        own = median(cost.own_s for cost in rounds)
        lines.append(
            f"| {names[name]} | {whole:.2f} | {apart:.2f} | {rest:.2f} | {rest / base:.3f} "
            f"| {own:.3f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
