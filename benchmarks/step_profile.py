"""Where the time of one training step goes: operators, how busy the GPU is, what could be avoided.

The second of two steps runs under torch's profiler. Without `--model` a Llama of 41 million random
weights trains on the sandbox's prompts with a coin as its reward; with it, the model in that folder
plays itself on film reviews, as in `benchmarks.real`.

    python -m benchmarks.step_profile --json FILE
    python -m benchmarks.step_profile --model runs/smollm2 --json FILE
    python -m benchmarks.step_profile --device cpu

The profiler itself slows what is launched from Python, by about a half: the first step's seconds
are those of a step without it, though with what a first step has to load.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from torch.profiler import ProfilerActivity, profile
from transformers import TrainerCallback

from benchmarks.gpu_memory import make_model
from benchmarks.study import ROOT, as_table
from serl_trl import trainer_from_config

REVIEWS = ROOT / "configs" / "sentiment_cpu.yaml"
SHOWN = 15
# Random weights agree on nothing: the given prompts, and any reward, exercise the machine.
RANDOM: dict[str, Any] = {
    "sources": ["given"],
    "label_reward": "random",
    "use_band": False,
    "probe_set": None,
    "probe_steps": 0,
    "max_completion_length": 32,
    "gradient_accumulation_steps": 2,
    "max_refill_rounds": 2,
}
RUN: dict[str, Any] = {"max_steps": 2, "save_strategy": "no", "report_to": "none"}


@dataclass(frozen=True)
class Avoidable:
    """Work that a step could do without: the operators that do it, and what would spare them."""

    name: str
    operators: tuple[str, ...]
    way_out: str


AVOIDABLE = (
    Avoidable(
        "launching kernels one by one",
        ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx"),
        "CUDA graphs or an engine with them (vLLM) while sampling; larger batches",
    ),
    Avoidable(
        "waiting for the GPU",
        ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize"),
        "values read back one by one: stopping at each token, logging",
    ),
    Avoidable(
        "reading single values back",
        ("aten::_local_scalar_dense", "aten::item", "aten::nonzero", "aten::is_nonzero"),
        "stopping criteria and masks that stay on the GPU",
    ),
    Avoidable(
        "casting and copying",
        ("aten::_to_copy", "aten::copy_", "cudaMemcpyAsync", "cudaMemcpy"),
        "autocast casts float32 weights in every pass: sample from one bfloat16 copy",
    ),
    Avoidable("growing the cache", ("aten::cat",), "a cache of fixed size, or a paged one"),
    Avoidable(
        "sorting the vocabulary",
        ("aten::sort", "aten::topk", "aten::cumsum", "aten::multinomial"),
        "top_p 1.0 and no top_k",
    ),
    Avoidable(
        "allocating memory",
        ("cudaMalloc", "cudaFree", "cudaHostAlloc"),
        "no empty_cache between parts; expandable segments",
    ),
    Avoidable(
        "checkpointed activations",
        ("CheckpointFunctionBackward",),
        "gradient_checkpointing: false where the memory allows it",
    ),
)


@dataclass(frozen=True)
class Operator:
    """One operator of the step: calls, and its own milliseconds on CPU and GPU."""

    name: str
    calls: int
    cpu_ms: float
    gpu_ms: float


class Profiled(TrainerCallback):
    """Profiles the second step, from the end of the first."""

    def __init__(self, *, cuda: bool) -> None:
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
        self.profiler, self.cuda = profile(activities=kinds), cuda
        self.marks: list[float] = []

    def mark(self) -> None:
        """Note the time when all that was asked of the device is done."""
        if self.cuda:
            torch.cuda.synchronize()
        self.marks.append(time.perf_counter())

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.mark()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.mark()
        if state.global_step == 1:
            self.profiler.start()
            self.marks.append(time.perf_counter())
        elif state.global_step == 2:
            self.profiler.stop()


def main() -> None:
    """Profile a step and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--model", type=Path, help="folder of a chat model; default: made here")
    parser.add_argument("--tiny", action="store_true", help="the model made here is tiny")
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    cuda = options.device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise SystemExit("no CUDA GPU: nothing was run. --device cpu shows that the script works.")
    with tempfile.TemporaryDirectory() as folder:
        trainer = build(options, Path(folder))
        watched = Profiled(cuda=cuda)
        trainer.add_callback(watched)
        trainer.train()
        metrics = [row for row in trainer.state.log_history if "loss" in row]
    found = {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "versions": {m.__name__: m.__version__ for m in (torch, transformers, trl)},
        "model": options.model.name if options.model else "random weights",
        "parameters": trainer.model.num_parameters(),
        "steps_s": [
            watched.marks[1] - watched.marks[0],
            watched.marks[3] - watched.marks[2],
        ],
        "parts_s": {key: value for key, value in metrics[-1].items() if key.endswith("_s")},
        **read(watched.profiler.events(), watched.marks[3] - watched.marks[2]),
    }
    sys.stdout.write(as_markdown(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def build(options: argparse.Namespace, folder: Path) -> Any:
    """Return the trainer of two steps."""
    cuda = options.device == "cuda"
    machine = {**RUN, "use_cpu": not cuda, "bf16": cuda, "output_dir": str(folder / "run")}
    if options.model:
        # On a GPU in passes of 16 rows, as the study of this model.
        rows = {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 4}
        path = str(options.model)
        return trainer_from_config(REVIEWS, model_name_or_path=path, **machine, **rows)
    make_model("tiny" if options.tiny else "40M", folder / "model", cuda=cuda)
    path = str(folder / "model")
    return trainer_from_config("sandbox", model_name_or_path=path, **machine, **RANDOM)


def read(events: Sequence[Any], seconds: float) -> dict[str, Any]:
    """Return what the profiler's events say of a step that took `seconds`."""
    operators: dict[str, list[float]] = {}
    spans = []
    for event in events:
        # A named range spans what is listed by itself.
        if getattr(event, "is_user_annotation", False):
            continue
        row = operators.setdefault(event.name, [0, 0.0, 0.0])
        row[0] += 1
        if event.device_type == torch.autograd.DeviceType.CPU:
            row[1] += event.self_cpu_time_total / 1e3
        else:
            row[2] += event.time_range.elapsed_us() / 1e3
            spans.append((event.time_range.start, event.time_range.end))
    table = [Operator(name, int(calls), *ms) for name, (calls, *ms) in operators.items()]
    by_name = {each.name: each for each in table}
    costs = [
        {
            "name": each.name,
            "calls": sum(by_name[name].calls for name in each.operators if name in by_name),
            "cpu_ms": sum(by_name[name].cpu_ms for name in each.operators if name in by_name),
            "way_out": each.way_out,
        }
        for each in AVOIDABLE
    ]
    return {
        "gpu_busy": covered(spans) / 1e6 / seconds,
        "in_operators": sum(each.cpu_ms for each in table) / 1e3 / seconds,
        "by_cpu": top(table, lambda each: each.cpu_ms),
        "by_gpu": top(table, lambda each: each.gpu_ms) if spans else [],
        "avoidable": sorted(costs, key=lambda each: each["cpu_ms"], reverse=True),
    }


def top(table: Iterable[Operator], key: Any) -> list[dict[str, Any]]:
    """Return the operators that cost most by `key`."""
    return [asdict(each) for each in sorted(table, key=key, reverse=True)[:SHOWN]]


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return how much of the time at least one of `spans` covers; they may overlap."""
    total, end = 0.0, float("-inf")
    for begin, stop in sorted(spans):
        total += max(0.0, stop - max(begin, end))
        end = max(end, stop)
    return total


def as_markdown(found: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    first, second = found["steps_s"]
    lines = [
        f"\n{found['model']}, {found['parameters'] / 1e6:.0f} M parameters, {found['device']}, "
        f"{found['versions']}. Steps: {first:.2f} s, then {second:.2f} s under the profiler. "
        f"The GPU was busy for {found['gpu_busy']:.1%} of it, {found['in_operators']:.0%} passed "
        "inside operators and CUDA calls, the rest in Python.\n",
    ]
    for by, unit in (("by_cpu", "CPU"), ("by_gpu", "GPU")):
        if not found[by]:
            continue
        rows = [[f"most {unit} time", "calls", "CPU ms", "GPU ms"]]
        for each in found[by]:
            name = each["name"].replace("|", " ").replace("`", " ")
            name = name if len(name) <= 70 else f"{name[:67]}..."
            ms = [f"{each[key]:,.1f}" for key in ("cpu_ms", "gpu_ms")]
            rows.append([f"`{name}`", f"{each['calls']:,}", *ms])
        lines += [*as_table(rows), ""]
    rows = [["avoidable", "calls", "CPU ms", "of the step", "how"]]
    for each in found["avoidable"][:3]:
        share = each["cpu_ms"] / 1e3 / second
        cost = [f"{each['calls']:,}", f"{each['cpu_ms']:,.1f}", f"{share:.1%}"]
        rows.append([each["name"], *cost, each["way_out"]])
    return "\n".join([*lines, *as_table(rows)]) + "\n"


if __name__ == "__main__":
    main()
