"""Speed and memory of SeRL on one GPU, beside plain GRPO on the same prompts in the same run.

A Llama of 63 million parameters is made here and trained on the sandbox's corpus until it can write
and solve its problems; nothing is downloaded. Then self-play trains it for some steps in bfloat16
(float32 weights, autocast), and TRL's `GRPOTrainer` the same model on the prompts that self-play
trained on, in their order.

    python -m benchmarks.gpu --results benchmarks/RESULTS.md
    python -m benchmarks.gpu --device cpu

The second line shows on any machine that this works, with the sandbox's own model; its figures say
nothing about a GPU.
"""

import argparse
import gc
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from benchmarks.overhead import SIZES, TEXTS, Recorded, right
from serl_trl import SeRLConfig
from serl_trl.propose.prompts import rollout_messages
from serl_trl.sandbox import STYLE, load_model, load_tokenizer, seed_set, solve
from tools.pretrain import Recipe, build_model, draw_batches

# 63 million parameters.
LARGE = Recipe(width=768, num_layers=8, num_heads=12, mlp_width=2304)
PROPOSER_TOKENS = 256
GPU_SIZES: dict[str, Any] = {"use_cpu": False, "bf16": True, "per_device_train_batch_size": 128}
SERL, PLAIN = "SeRLTrainer, self-play", "GRPOTrainer, the same prompts"


@dataclass(frozen=True)
class Figures:
    """What one trainer did in its measured steps; `parts_s` are seconds a step, by name."""

    step_s: float
    parts_s: dict[str, float]
    sampled: float
    updated: float
    peak_gib: float | None

    @property
    def outside(self) -> float:
        """Share of the time that is neither generation nor update."""
        return 1 - sum(self.parts_s.values()) / self.step_s


class Clock(TrainerCallback):
    """Adds up seconds and tokens by part, and remembers the sums at the end of each step."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._updated_at = 0.0
        self.sums: Counter[str] = Counter()
        self.marks: list[Counter[str]] = []

    def now(self) -> float:
        """Return the time when all that was asked of the device is done."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def add(self, part: str, seconds: float) -> None:
        """Count `seconds` for `part`, up to now."""
        self.sums[part] += seconds
        self._updated_at = self.now()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # Since the last pass: clipping and the optimizer.
        self.add("update", self.now() - self._updated_at)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        seen = state.num_input_tokens_seen
        self.marks.append(self.sums + Counter(at=self.now(), trained_tokens=seen))


class Measured:
    """Laid over a trainer: times its generation and its passes."""

    clock: Clock

    def _generate_single_turn(self, *args: Any, **options: Any) -> Any:
        start, trainer = self.clock.now(), _above(self)
        result = trainer._generate_single_turn(*args, **options)
        # A batch that self-play made is only handed on here.
        if getattr(self, "_handed_on", None) is None:
            asked = self.generation_config.max_new_tokens
            part = "proposals" if asked == PROPOSER_TOKENS else "rollouts"
            self.clock.add(part, self.clock.now() - start)
            self.clock.sums["sampled_tokens"] += sum(map(len, result[0]))
        return result

    def training_step(self, *args: Any, **options: Any) -> Any:
        start, rollouts = self.clock.now(), self.clock.sums["rollouts"]
        loss = _above(self).training_step(*args, **options)
        # Plain GRPO generates inside its first pass.
        inside = self.clock.sums["rollouts"] - rollouts
        self.clock.add("update", self.clock.now() - start - inside)
        return loss


def _above(trainer: Measured) -> Any:
    return super(Measured, trainer)


class MeasuredSeRL(Measured, Recorded):
    """Ours, timed."""


class MeasuredGRPO(Measured, GRPOTrainer):
    """TRL's, timed."""


def main() -> None:
    """Make the model, run both trainers, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=10, help="measured, after the warm-up")
    parser.add_argument("--warmup", type=int, default=2, help="steps that are not measured")
    parser.add_argument("--pretrain_steps", type=int, default=800)
    parser.add_argument("--continuous", action="store_true", help="use continuous batching")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=None, help="Markdown file to append to")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA GPU: nothing was run. --device cpu shows that the script works.")
    if options.device == "cpu" and options.results:
        raise SystemExit("--results takes figures of a GPU only; leave it out with --device cpu.")
    with tempfile.TemporaryDirectory() as folder:
        model_path = f"{folder}/model"
        num_parameters = make_model(model_path, options)
        serl, prompts = run_serl(model_path, folder, options)
        # The first trainer goes before the memory of the second is measured.
        gc.collect()
        plain = run_plain(model_path, folder, prompts, options)
    table = as_markdown({SERL: serl, PLAIN: plain}, num_parameters, options)
    sys.stdout.write(table)
    if options.results:
        with options.results.open("a") as file:
            file.write(table)


def make_model(path: str, options: argparse.Namespace) -> int:
    """Train a model on the sandbox's corpus and save it; return the number of its parameters.

    On a CPU the sandbox's own model is trained on.
    """
    tokenizer, device = load_tokenizer(), torch.device(options.device)
    recipe = replace(LARGE, num_steps=options.pretrain_steps)
    if device.type == "cpu":
        recipe, model = Recipe(num_steps=min(3, options.pretrain_steps)), load_model()
    else:
        torch.manual_seed(options.seed)
        model = build_model(recipe, tokenizer).to(device)
    rate = 1e-3 if device.type == "cuda" else 1e-6
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=max(1, recipe.num_steps), pct_start=0.1
    )
    loss = torch.zeros(())
    for batches in draw_batches(recipe, tokenizer, random.Random(options.seed)):
        for batch in batches:
            ids, part = batch.ids.to(device), batch.part.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                labels = ids.masked_fill(part == 0, -100)
                loss = model(input_ids=ids, labels=labels, use_cache=False).loss
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
    sys.stderr.write(f"pretrained for {recipe.num_steps} steps, last loss {loss.item():.3f}\n")
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return model.num_parameters()


def run_serl(
    model_path: str, folder: str, options: argparse.Namespace
) -> tuple[Figures, list[str]]:
    """Measure ours; also return the prompts it trained on, in their order."""
    config = SeRLConfig(
        collapse_guard="off",
        output_dir=f"{folder}/serl",
        proposer_max_tokens=PROPOSER_TOKENS,
        max_per_template=0,
        **TEXTS,
        **sizes(options),
    )
    tokenizer = load_tokenizer()
    trainer = MeasuredSeRL(model_path, config, seed_set(), processing_class=tokenizer)
    figures = measure(trainer, options)
    if trainer.starved:
        raise SystemExit(f"self-play stopped, train the model longer: {trainer.starved}")
    return figures, trainer.trained


def run_plain(
    model_path: str, folder: str, prompts: list[str], options: argparse.Namespace
) -> Figures:
    """Measure TRL's own trainer on `prompts`, rewarded by the exact answer."""
    rows = [{"prompt": rollout_messages(text, STYLE), "gold": solve(text)} for text in prompts]

    config = GRPOConfig(output_dir=f"{folder}/plain", shuffle_dataset=False, **sizes(options))
    trainer = MeasuredGRPO(
        model_path, right, config, Dataset.from_list(rows), processing_class=load_tokenizer()
    )
    return measure(trainer, options)


def sizes(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that both trainers share."""
    return {
        **SIZES,
        **(GPU_SIZES if options.device == "cuda" else {}),
        "max_steps": options.warmup + options.steps,
        "seed": options.seed,
        "use_transformers_continuous_batching": options.continuous,
    }


def measure(trainer: Any, options: argparse.Namespace) -> Figures:
    """Train; return the figures of the steps after the warm-up."""
    clock = trainer.clock = Clock(trainer.accelerator.device)
    trainer.add_callback(clock)
    started = Counter(at=clock.now())
    trainer.train()
    first = clock.marks[options.warmup - 1] if options.warmup else started
    did, steps = Counter(clock.marks[-1]), len(clock.marks) - options.warmup
    did.subtract(first)
    parts = ("proposals", "rollouts", "update")
    cuda = options.device == "cuda"
    return Figures(
        step_s=did["at"] / steps,
        parts_s={part: did[part] / steps for part in parts},
        sampled=did["sampled_tokens"] / (did["proposals"] + did["rollouts"]),
        updated=did["trained_tokens"] / did["update"],
        peak_gib=torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
    )


def as_markdown(found: dict[str, Figures], num_parameters: int, options: argparse.Namespace) -> str:
    """Return the table as Markdown."""
    cuda = options.device == "cuda"
    title = (
        f"One GPU, {date.today().isoformat()}: {torch.cuda.get_device_name()}"
        if cuda
        else (f"No GPU: the same on a CPU, {platform.machine()}")
    )
    shared = sizes(options)
    rollouts = shared["per_device_train_batch_size"] * shared["gradient_accumulation_steps"]
    backend = "continuous batching" if options.continuous else "generate"
    lines = [f"\n## {title}\n"]
    lines += [
        f"`python -m benchmarks.gpu`, seed {options.seed}, {backend}, torch {torch.__version__}, "
        f"transformers {transformers.__version__}, trl {trl.__version__}. A Llama of "
        f"{num_parameters / 1e6:.0f} M parameters, {'bf16' if shared['bf16'] else 'float32'}, "
        f"{options.steps} steps of {rollouts} trained rollouts after {options.warmup} of warm-up. "
        "Seconds a step. Rollouts include those of refused groups; outside is what is neither "
        "generation nor update; memory is the most that torch allocated.\n"
    ]
    heads = ("trainer", "step", "proposals", "rollouts", "update", "outside")
    heads += ("sampled tokens/s", "trained tokens/s", "peak GiB")
    lines += ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for name, figures in found.items():
        parts = " | ".join(f"{seconds:.3f}" for seconds in figures.parts_s.values())
        peak = "-" if figures.peak_gib is None else f"{figures.peak_gib:.2f}"
        lines.append(
            f"| {name} | {figures.step_s:.3f} | {parts} | {figures.outside:.1%} "
            f"| {figures.sampled:,.0f} | {figures.updated:,.0f} | {peak} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
