"""What self-play costs beside plain GRPO on the same prompts.

Two pairs on the sandbox with the same sizes, each of ours and of TRL's `GRPOTrainer`: on the given
prompts, so that vote and ledger are all that differs, and by self-play, whose prompts the other
then gets in the same order, because harder prompts have longer completions. Proposing and refused
groups are counted apart. Seconds, in turns, median of the rounds' ratios.

    python benchmarks/overhead.py --results benchmarks/RESULTS.md
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from serl_trl import SeRLConfig, SeRLTrainer, extract_answer
from serl_trl.loop.groups import Group
from serl_trl.propose.prompts import rollout_messages
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
TEXTS = asdict(STYLE)


@dataclass(frozen=True)
class Cost:
    """Seconds per step; `apart_s` is the part that plain GRPO has no counterpart for."""

    whole_s: float
    apart_s: float = 0.0
    own_s: float = 0.0

    @property
    def rest_s(self) -> float:
        """What is to be compared with plain GRPO."""
        return self.whole_s - self.apart_s


def main() -> None:
    """Run both pairs in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--results", type=Path, default=None, help="Markdown file to append to")
    options = parser.parse_args()
    pairs: dict[str, list[tuple[Cost, Cost]]] = {"given prompts, no band": [], "self-play": []}
    for number in range(options.rounds):
        given = {"sources": ["given"], "use_band": False}
        for name, flags in zip(pairs, (given, {"sources": ["few_shot"]}), strict=True):
            cost, prompts = ours(options.steps, seed=number, **flags)
            pairs[name].append((cost, plain(prompts, options.steps, seed=number)))
    table = as_markdown(pairs, options)
    sys.stdout.write(table)
    if options.results:
        with options.results.open("a") as file:
            file.write(table)


def right(completions: list[Any], gold: list[str | None], **_: Any) -> list[float]:
    """The reward of plain GRPO: whether the answer is the exact one."""
    answers = [extract_answer(each[0]["content"]) for each in completions]
    return [float(answer == truth) for answer, truth in zip(answers, gold, strict=True)]


def plain(prompts: list[str], steps: int, *, seed: int) -> Cost:
    """Time TRL's own trainer on `prompts` in their order, rewarded by the exact answer."""
    rows = [
        {"prompt": rollout_messages(text, STYLE), "gold": solve(text) or ""} for text in prompts
    ]

    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder, max_steps=steps, seed=seed, shuffle_dataset=False, **SIZES
        )
        trainer = GRPOTrainer(
            load_model(), right, config, Dataset.from_list(rows), processing_class=load_tokenizer()
        )
        return Cost(timed(trainer) / steps)


class Recorded(SeRLTrainer):
    """Remembers the prompts it trained on, in their order."""

    def _local_rows(self, groups: Sequence[Group]) -> list[dict[str, Any]]:
        self.trained = [*getattr(self, "trained", []), *(group.instruction for group in groups)]
        return super()._local_rows(groups)


def ours(steps: int, *, seed: int, **options: Any) -> tuple[Cost, list[str]]:
    """Time our trainer; what was generated for proposals and refused groups is counted apart."""
    with tempfile.TemporaryDirectory() as folder:
        config = SeRLConfig(
            collapse_guard="off",
            output_dir=folder,
            max_steps=steps,
            seed=seed,
            proposer_max_tokens=256,
            max_per_template=0,
            **SIZES,
            **TEXTS,
            **options,
        )
        trainer = Recorded(load_model(), config, seed_set(), processing_class=load_tokenizer())
        whole = timed(trainer)
        rows = [row for row in trainer.state.log_history if "serl/num_groups" in row]
    # Of the rollouts' seconds, those of groups that were not trained on.
    share = len(trainer.trained) / sum(row["serl/num_groups"] for row in rows)
    rolled_out = sum(row["serl/time/rollout_s"] for row in rows)
    apart = sum(row["serl/time/propose_s"] for row in rows) + rolled_out * (1 - share)
    own = sum(row["serl/time/own_s"] for row in rows)
    return Cost(whole / steps, apart / steps, own / steps), trainer.trained


def timed(trainer: GRPOTrainer) -> float:
    """Train and return the seconds it took."""
    start = time.perf_counter()
    trainer.train()
    return time.perf_counter() - start


def as_markdown(pairs: dict[str, list[tuple[Cost, Cost]]], options: argparse.Namespace) -> str:
    """Return the table as Markdown."""
    lines = [f"\n## Overhead over plain GRPO, {date.today().isoformat()}\n"]
    lines += [
        f"`python benchmarks/overhead.py`, {options.steps} steps of 128 trained rollouts, in turns "
        f"with `GRPOTrainer` on the same prompts, medians of {options.rounds} rounds, seconds a "
        "step. Apart: proposals, refused rollouts.\n"
    ]
    lines += ["| | SeRLTrainer | apart | rest | GRPOTrainer | rest / GRPOTrainer | own work |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for name, rounds in pairs.items():
        whole, apart, rest, own = (
            median(getattr(cost, part) for cost, _ in rounds)
            for part in ("whole_s", "apart_s", "rest_s", "own_s")
        )
        other = median(cost.whole_s for _, cost in rounds)
        ratios = sorted(cost.rest_s / beside.whole_s for cost, beside in rounds)
        lines.append(
            f"| {name} | {whole:.2f} | {apart:.2f} | {rest:.2f} | {other:.2f} "
            f"| {median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}) | {own:.3f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
