"""Peak memory and seconds of a step on one GPU, beside what `serl plan` foretells.

Models with random weights are made here: a Llama of 63 million parameters and Qwen2.5's 0.5 B and
1.5 B. Every completion is sampled to its limit (with continuous batching random weights of a large
vocabulary seldom end one), and the prompts are filled up to the length that the plan counts on:
what is measured is the plan's own case. Each way of training runs two steps, because Adam's states
exist from the second on.

    python -m benchmarks.gpu_memory --json benchmarks/results/gpu_memory.json
    python -m benchmarks.gpu_memory --device cpu

A case that fails is a row with its error. The file is written after each case, and cases that it
holds are passed over. The second line shows on any machine that this works, with a small model.
"""

import argparse
import gc
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from transformers import (
    BitsAndBytesConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    TrainerCallback,
)

from serl_trl import SeRLConfig, SeRLTrainer
from serl_trl.plan.estimate import Layout, estimate_memory
from serl_trl.plan.shapes import SHAPES, ModelShape, shape_of_config
from serl_trl.sandbox import load_tokenizer

GIB = 2**30
COMPLETION, INSTRUCTION = 256, 64
SIZES: dict[str, Any] = {
    "per_device_train_batch_size": 16,
    "gradient_accumulation_steps": 2,
    "num_generations": 8,
    "max_completion_length": COMPLETION,
    "max_instruction_tokens": INSTRUCTION,
}
RUN: dict[str, Any] = {
    "max_steps": 2,
    "bf16": True,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "logging_steps": 1,
    "sources": ["given"],
    "label_reward": "random",
    "use_band": False,
    "max_refill_rounds": 2,
}
QLORA = {"use_peft": True, "load_in_4bit": True, "dtype": "bfloat16"}


@dataclass(frozen=True)
class Case:
    """A model by its key in `models`, and how it is trained."""

    model: str
    way: str
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.model}, {self.way}"


WAYS: dict[str, dict[str, Any]] = {
    "full": {},
    "full, no checkpointing": {"gradient_checkpointing": False},
    "full, no reference": {"beta": 0.0},
    "full, continuous batching": {"use_transformers_continuous_batching": True},
    "LoRA": {"use_peft": True, "dtype": "bfloat16"},
    "LoRA, continuous batching": {
        "use_peft": True,
        "dtype": "bfloat16",
        "use_transformers_continuous_batching": True,
    },
    "QLoRA": QLORA,
}
CASES = [
    *(Case("0.5B", way, options) for way, options in WAYS.items()),
    *(Case("1.5B", way, WAYS[way]) for way in ("full", "LoRA", "QLoRA")),
    *(Case("63M", way, WAYS[way]) for way in ("full", "full, continuous batching")),
]


def main() -> None:
    """Run the cases that are not in the file yet, and print a table of all."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path, default=None, help="results, read and written")
    options = parser.parse_args()
    cuda = options.device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise SystemExit("no CUDA GPU: nothing was run. --device cpu shows that the script works.")
    found = {"device": torch.cuda.get_device_name() if cuda else "cpu", "cases": {}}
    if options.json and options.json.exists():
        found = json.loads(options.json.read_text(encoding="utf-8"))
    found["versions"] = {m.__name__: m.__version__ for m in (torch, transformers, trl)}
    cases = CASES if cuda else [Case("tiny", way, WAYS[way]) for way in ("full", "LoRA")]
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            if case.name in found["cases"]:
                continue
            found["cases"][case.name] = run(case, Path(folder), cuda=cuda)
            sys.stderr.write(f"{case.name}: {found['cases'][case.name]}\n")
            if options.json:
                options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
            gc.collect()
            if cuda:
                torch.cuda.empty_cache()
    sys.stdout.write(as_markdown(found))


def run(case: Case, folder: Path, *, cuda: bool) -> dict[str, Any]:
    """Train two steps; return the peaks in GiB and seconds a step, or the error."""
    path = folder / case.model
    if not path.exists():
        make_model(case.model, path, cuda=cuda)
    try:
        return train(case, path, folder / "run", cuda=cuda)
    except (RuntimeError, ValueError, ImportError, TypeError) as error:
        return {"error": f"{type(error).__name__}: {str(error)[:400]}"}
    finally:
        shutil.rmtree(folder / "run", ignore_errors=True)


def make_model(name: str, path: Path, *, cuda: bool) -> None:
    """Save a model with random weights under `path`, with the sandbox's tokenizer."""
    tokenizer = load_tokenizer()
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    with torch.device("cuda" if cuda else "cpu"):
        if name in ("0.5B", "1.5B"):
            shape = SHAPES[f"Qwen/Qwen2.5-{name}-Instruct"]
            model: Any = Qwen2ForCausalLM(Qwen2Config(**sizes_of(shape), **ends))
        else:
            shape = replace(SHAPES["meta-llama/Llama-3.2-1B-Instruct"], vocab_size=len(tokenizer))
            small = {"hidden_size": 768, "num_hidden_layers": 8, "num_attention_heads": 12}
            small |= {"num_key_value_heads": 12, "head_dim": 64, "intermediate_size": 2304}
            if name == "tiny":
                small |= {"hidden_size": 48, "num_hidden_layers": 2, "intermediate_size": 128}
                small |= {"head_dim": 4}
            model = LlamaForCausalLM(LlamaConfig(**{**sizes_of(shape), **small}, **ends))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)


def sizes_of(shape: ModelShape) -> dict[str, Any]:
    """Return a shape in the words of a transformers config."""
    return {
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "intermediate_size": shape.intermediate_size,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": shape.tied_embeddings,
    }


class Peaks(TrainerCallback):
    """Peaks and seconds by part: sampling inside `roll_out`, updating in what follows it."""

    def __init__(self, *, cuda: bool) -> None:
        self._cuda = cuda
        self._started = time.perf_counter()
        self.peaks: dict[str, float] = {}
        self.seconds: Counter[str] = Counter()
        self.reserved = 0.0

    def begin(self) -> None:
        """Forget the peak so far."""
        if self._cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self._started = time.perf_counter()

    def end(self, part: str) -> None:
        """Note the peak since `begin` under `part`; the last step's seconds stand."""
        if self._cuda:
            torch.cuda.synchronize()
            peak = torch.cuda.max_memory_allocated() / GIB
            self.peaks[part] = max(peak, self.peaks.get(part, 0.0))
            self.reserved = max(self.reserved, torch.cuda.max_memory_reserved() / GIB)
        self.seconds[part] = time.perf_counter() - self._started

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.end("updating")


def train(case: Case, path: Path, folder: Path, *, cuda: bool) -> dict[str, Any]:
    """Train two steps and hold the peaks beside the plan's."""
    options = {**SIZES, **RUN, **case.options}
    if not options.get("use_transformers_continuous_batching"):
        options["generation_kwargs"] = {"min_new_tokens": COMPLETION}
    method = {key: options.pop(key, None) for key in ("use_peft", "load_in_4bit", "dtype")}
    tokenizer = load_tokenizer()
    filler = "seven apples and two pears " * 400
    ids = tokenizer(filler)["input_ids"]
    config = SeRLConfig(
        output_dir=str(folder),
        model_init_kwargs={"dtype": method["dtype"] or "float32"},
        use_cpu=not cuda,
        rollout_system=tokenizer.decode(ids[:80]),
        **{**options, "bf16": cuda},
    )
    trainer = SeRLTrainer(
        str(path),
        config,
        [f"{number} {tokenizer.decode(ids[: INSTRUCTION - 6])}" for number in range(16)],
        processing_class=tokenizer,
        peft_config=_lora() if method["use_peft"] else None,
        quantization_config=_four_bits() if method["load_in_4bit"] else None,
    )
    peaks = Peaks(cuda=cuda)
    trainer.add_callback(peaks)
    roll_out = trainer.policy.roll_out
    lengths: list[int] = []

    def measured(instructions: Any) -> Any:
        peaks.begin()
        groups = roll_out(instructions)
        peaks.end("sampling")
        lengths.extend(len(c.token_ids) for group in groups for c in group)
        peaks.begin()
        return groups

    trainer.policy.roll_out = measured
    trainer.train()
    shape = shape_of_config(trainer.model.config)
    values = {**_plain(config), **options, **method, **_adapter(method)}
    plan = estimate_memory(values, shape, Layout(), gpu=None)
    rows = config.per_device_train_batch_size * config.gradient_accumulation_steps
    return {
        "parameters": shape.num_parameters,
        "sampling_gib": peaks.peaks.get("sampling"),
        "updating_gib": peaks.peaks.get("updating"),
        "reserved_gib": peaks.reserved,
        "planned_sampling_gib": (plan.sampling_peak - plan.overhead) / GIB,
        "planned_updating_gib": (plan.updating_peak - plan.overhead) / GIB,
        "sampling_s": peaks.seconds["sampling"],
        "updating_s": peaks.seconds["updating"],
        "sampled_tokens_per_s": rows * COMPLETION / peaks.seconds["sampling"],
        "shortest_completion": min(lengths),
    }


def _plain(config: SeRLConfig) -> dict[str, Any]:
    names = set(vars(config))
    return {name: getattr(config, name) for name in names}


def _adapter(method: dict[str, Any]) -> dict[str, Any]:
    return {
        "lora_r": 16,
        "lora_target_modules": ["all-linear"],
        "load_in_8bit": False,
        "use_bnb_nested_quant": False,
        **{key: bool(method[key]) for key in ("use_peft", "load_in_4bit")},
    }


def _lora() -> Any:
    from peft import LoraConfig

    return LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")


def _four_bits() -> BitsAndBytesConfig:
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )


def as_markdown(found: dict[str, Any]) -> str:
    """Return the table as Markdown; the plan's figures leave its fixed overhead out."""
    heads = ("case", "sampling GiB (plan)", "updating GiB (plan)", "reserved GiB")
    heads += ("sampling s", "updating s", "sampled tokens/s")
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for name, row in found["cases"].items():
        if "error" in row:
            lines.append(f"| {name} | {row['error']} |" + " |" * (len(heads) - 2))
            continue
        cells = [
            f"{row[f'{part}_gib'] or 0:.2f} ({row[f'planned_{part}_gib']:.2f})"
            for part in ("sampling", "updating")
        ]
        cells += [f"{row['reserved_gib']:.2f}"]
        cells += [f"{row[f'{part}_s']:.2f}" for part in ("sampling", "updating")]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['sampled_tokens_per_s']:,.0f} |")
    return f"\n{found['device']}, {found['versions']}\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
