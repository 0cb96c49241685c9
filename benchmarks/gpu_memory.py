"""Peak memory and seconds of a step on one GPU, beside what `serl plan` foretells.

Models with random weights are made here: a Llama of 41 million parameters and Qwen2.5's 0.5 B and
1.5 B. Every completion is sampled to its limit (with continuous batching random weights of a large
vocabulary seldom end one), and the prompts are filled up to the length that the plan counts on:
what is measured is the plan's own case. Each way of training runs two steps, because Adam's states
exist from the second on; the completions of the first are short.

    python -m benchmarks.gpu_memory --json benchmarks/results/gpu_memory.json
    python -m benchmarks.gpu_memory --json FILE --rows 256 --completion 128 --case_s 45
    python -m benchmarks.gpu_memory --device cpu

Cases are in order of worth. One that fails, or takes longer than `--case_s`, is a row with its
error. The file is written after each case, and cases that it holds are passed over. The last line
shows on any machine that this works, with a small model.
"""

import argparse
import gc
import json
import shutil
import signal
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
from serl_trl.plan.estimate import TEMPLATE_TOKENS, Layout, estimate_memory
from serl_trl.plan.shapes import SHAPES, ModelShape, shape_of_config
from serl_trl.sandbox import load_tokenizer

GIB = 2**30
INSTRUCTION, VOTES = 64, 8
# Bytes: the three models in float32, twice.
WEIGHTS = 20_000_000_000
# Tokens of a completion in the first step, which warms the GPU up and makes Adam's states.
SHORT = 16
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
    "num_generations": VOTES,
    "max_instruction_tokens": INSTRUCTION,
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
    Case(model, way, WAYS[way])
    for model, way in (
        ("0.5B", "full"),
        ("0.5B", "LoRA"),
        ("1.5B", "full"),
        ("1.5B", "LoRA"),
        ("0.5B", "full, no checkpointing"),
        ("0.5B", "full, continuous batching"),
        ("40M", "full"),
        ("40M", "full, continuous batching"),
        ("0.5B", "QLoRA"),
        ("1.5B", "full, no checkpointing"),
        ("1.5B", "full, continuous batching"),
        ("1.5B", "QLoRA"),
        ("0.5B", "full, no reference"),
        ("0.5B", "LoRA, continuous batching"),
        ("40M", "LoRA"),
    )
]


def main() -> None:
    """Run the cases that are not in the file yet, and print a table of all."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--json", type=Path, default=None, help="results, read and written")
    parser.add_argument("--rows", type=int, default=32, help="sampled at once, a multiple of 8")
    parser.add_argument("--completion", type=int, default=256, help="tokens of each")
    parser.add_argument("--case_s", type=int, default=600, help="seconds that one case may take")
    parser.add_argument("--tiny", action="store_true", help="the small model alone")
    options = parser.parse_args()
    cuda = options.device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise SystemExit("no CUDA GPU: nothing was run. --device cpu shows that the script works.")
    found = {"device": torch.cuda.get_device_name() if cuda else "cpu", "cases": {}}
    if options.json and options.json.exists():
        found = json.loads(options.json.read_text(encoding="utf-8"))
    found["versions"] = {m.__name__: m.__version__ for m in (torch, transformers, trl)}
    found |= {"rows": options.rows, "completion": options.completion}
    cases = CASES
    if options.tiny or not cuda:
        # QLoRA and continuous batching need a GPU.
        cases = [Case("tiny", way, WAYS[way]) for way in (WAYS if cuda else ("full", "LoRA"))]
    # In memory where it has room: weights that a disk writes and reads take longest.
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > WEIGHTS
    with tempfile.TemporaryDirectory(dir=memory if roomy else None) as folder:
        for case in cases:
            if case.name in found["cases"]:
                continue
            found["cases"][case.name] = run(case, Path(folder), options)
            sys.stderr.write(f"{case.name}: {found['cases'][case.name]}\n")
            if options.json:
                options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
            gc.collect()
            if cuda:
                torch.cuda.empty_cache()
    sys.stdout.write(as_markdown(found))


def run(case: Case, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train two steps; return the peaks in GiB and seconds a step, or the error."""
    cuda, path = options.device == "cuda", folder / case.model

    def late(*_: Any) -> None:
        raise TimeoutError(f"took longer than {options.case_s} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(options.case_s)
    started = time.perf_counter()
    try:
        if not path.exists():
            make_model(case.model, path, cuda=cuda)
        found = train(case, path, folder / "run", options)
        return {**found, "case_s": time.perf_counter() - started}
    except (RuntimeError, ValueError, ImportError, TypeError, AttributeError, OSError) as error:
        return {"error": f"{type(error).__name__}: {str(error)[:400]}"}
    finally:
        signal.alarm(0)
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
            small = {"hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8}
            small |= {"num_key_value_heads": 4, "head_dim": 64, "intermediate_size": 1536}
            if name == "tiny":
                small = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
                small |= {"num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 128}
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


def train(case: Case, path: Path, folder: Path, flags: argparse.Namespace) -> dict[str, Any]:
    """Train two steps and hold the peaks beside the plan's."""
    cuda, rows = flags.device == "cuda", flags.rows
    batch = min(rows, max(16, rows // 8))
    options = {**RUN, "max_completion_length": flags.completion, **case.options}
    options |= {"per_device_train_batch_size": batch, "gradient_accumulation_steps": rows // batch}
    if not options.get("use_transformers_continuous_batching"):
        options["generation_kwargs"] = {"min_new_tokens": flags.completion}
    method = {key: options.pop(key, None) for key in ("use_peft", "load_in_4bit", "dtype")}
    tokenizer = load_tokenizer()
    filler = "seven apples and two pears " * 400
    ids = tokenizer(filler)["input_ids"]
    config = SeRLConfig(
        collapse_guard="off",
        output_dir=str(folder),
        model_init_kwargs={"dtype": method["dtype"] or "float32"},
        use_cpu=not cuda,
        rollout_system=tokenizer.decode(ids[:80]),
        **{**options, "bf16": cuda},
    )
    trainer = SeRLTrainer(
        str(path),
        config,
        [f"{number} {tokenizer.decode(ids[: INSTRUCTION - 6])}" for number in range(rows)],
        processing_class=tokenizer,
        peft_config=_lora() if method["use_peft"] else None,
        quantization_config=_four_bits() if method["load_in_4bit"] else None,
    )
    peaks = Peaks(cuda=cuda)
    trainer.add_callback(peaks)
    roll_out = trainer.policy.roll_out
    lengths: list[int] = []

    def measured(instructions: Any) -> Any:
        set_length(trainer, flags.completion if trainer.state.global_step else SHORT)
        peaks.begin()
        groups = roll_out(instructions)
        peaks.end("sampling")
        lengths[:] = [len(c.token_ids) for group in groups for c in group]
        peaks.begin()
        return groups

    trainer.policy.roll_out = measured
    trainer.train()
    shape = shape_of_config(trainer.model.config)
    values = {**_plain(config), **options, **method, **_adapter(method)}
    plan = estimate_memory(values, shape, Layout(), gpu=None)
    trained = rows * (INSTRUCTION + TEMPLATE_TOKENS) + sum(lengths)
    return {
        "parameters": shape.num_parameters,
        "sampling_gib": peaks.peaks.get("sampling"),
        "updating_gib": peaks.peaks.get("updating"),
        "reserved_gib": peaks.reserved,
        "planned_sampling_gib": (plan.sampling_peak - plan.overhead) / GIB,
        "planned_updating_gib": (plan.updating_peak - plan.overhead) / GIB,
        "sampling_s": peaks.seconds["sampling"],
        "updating_s": peaks.seconds["updating"],
        "sampled_tokens_per_s": sum(lengths) / peaks.seconds["sampling"],
        "updated_tokens_per_s": trained / peaks.seconds["updating"],
        "shortest_completion": min(lengths),
    }


def set_length(trainer: SeRLTrainer, num_tokens: int) -> None:
    """Have completions sampled to `num_tokens`; with continuous batching, to at most so many."""
    wanted = {"max_new_tokens": num_tokens}
    if "min_new_tokens" in trainer.generation_kwargs:
        wanted["min_new_tokens"] = num_tokens
    trainer.generation_config.update(**wanted)
    trainer.generation_kwargs.update(wanted)


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
    heads += ("sampling s", "updating s", "sampled tokens/s", "trained tokens/s")
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
        cells += [f"{row[f'{each}_tokens_per_s']:,.0f}" for each in ("sampled", "updated")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    made_by = f"{found['device']}, {found['versions']}; {found['rows']} rows of at most "
    made_by += f"{found['completion']} sampled tokens"
    return f"\n{made_by}\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
