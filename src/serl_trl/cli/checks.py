"""What can be known to be wrong with a run before its model is loaded."""

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from serl_trl import sandbox
from serl_trl.common.folder import FolderError
from serl_trl.common.processes import is_main_process, num_processes
from serl_trl.common.text import list_names, near_matches, visible
from serl_trl.data.tables import file_problem, is_hub_id
from serl_trl.measure.benchmarks import BENCHMARKS
from serl_trl.runs.output_folder import may_be_renamed, output_problem
from serl_trl.train.checkpoint import NEWEST, choose
from serl_trl.train.config_checks import find_problems, out_of_range
from serl_trl.train.needs import (
    evaluation_problems,
    named_trackers,
    package_problems,
    reward_problems,
)

SANDBOX = "sandbox"
"""Value of `model_name_or_path`, `seed_set` and `probe_set` that means the built-in one."""

LATEST = "true"
LATEST_OR_FRESH = "auto"
"""Values of `resume_from_checkpoint` beside a path: the newest, which must exist or need not."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


def find_run_problems(values: Mapping[str, Any], *, given: Collection[str]) -> list[str]:
    """Return one sentence per problem of a whole run, beginning with `name=value` where it can.

    `values` holds every option with its default, `given` the names that were set on purpose. The
    output folder is looked at by the first process only, before it writes there itself.
    """
    return [
        *find_config_problems(values, given=given),
        *find_start_problems(values),
        *find_machine_problems(values),
    ]


def find_config_problems(values: Mapping[str, Any], *, given: Collection[str]) -> list[str]:
    """Return what is wrong with a config wherever it is going to run."""
    problems = find_problems(values) + out_of_range(values, _RANGES)
    for check in (_model, _sets, _quantisation, _trackers):
        problems += check(values)
    funcs = values.get("reward_funcs") or ()
    problems += reward_problems(
        values.get("label_reward"), values.get("reward_weights"), len(funcs)
    )
    problems += evaluation_problems(values, has_probe=bool(values.get("probe_set")))
    return problems + list(_run_length(values, given))


def find_start_problems(values: Mapping[str, Any]) -> list[str]:
    """Return what hinders this start: number of processes, output folder, checkpoint."""
    problems = [*batch_problems(values, processes=num_processes()), *_resume(values)]
    if is_main_process():
        problems += _output(values)
    return problems


def find_machine_problems(values: Mapping[str, Any]) -> list[str]:
    """Return what this machine lacks for the run: packages and a GPU."""
    return [*package_problems(values), *_device(values)]


def is_local_path(model: str) -> bool:
    """Return whether a model name means a folder: there is one, or no Hub id is written like it."""
    return not is_hub_id(model) or Path(model).expanduser().is_dir()


def model_location(name: str) -> str:
    """Return the folder or Hub id that a model name means."""
    if name == SANDBOX:
        return str(sandbox.MODEL_PATH)
    return str(Path(name).expanduser()) if is_local_path(name) else name


def holds_run(folder: Path) -> list[str]:
    """Return what in `folder` shows that a run wrote it; empty when none did."""
    signs = ("_serl", "checkpoint-*", "*.safetensors", "trainer_state.json")
    return sorted({path.name for sign in signs for path in folder.glob(sign)})


def _model(values: Mapping[str, Any]) -> Iterator[str]:
    model = values.get("model_name_or_path")
    if not model:
        yield "model_name_or_path is missing; give a folder, a Hub id, or `sandbox`."
    elif model != SANDBOX and is_local_path(model):
        folder = Path(model).expanduser()
        if not folder.is_dir():
            beside = folder.parent.iterdir() if folder.parent.is_dir() else ()
            hint = near_matches(folder.name, [path.name for path in beside])
            yield (
                f"model_name_or_path={visible(model)} is no folder (in {Path.cwd()}), and no Hub "
                f"id (owner/name) either.{hint}"
            )
        elif not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
            yield f"model_name_or_path={visible(model)} holds no config.json; it is no model."
    revision = str(values.get("model_revision"))
    if values.get("trust_remote_code") and not _COMMIT.fullmatch(revision):
        yield (
            f"trust_remote_code=True runs code from the model's repository; pin it: model_revision="
            f"{visible(revision)} must be a commit of 40 hexadecimal digits."
        )


def _sets(values: Mapping[str, Any]) -> Iterator[str]:
    if not values.get("seed_set"):
        yield (
            "seed_set is missing; give a .jsonl, .json, .csv, .parquet or .txt file, a Hub "
            "dataset, or `sandbox`."
        )
    for name in ("seed_set", "probe_set"):
        value = values.get(name)
        if value and value != SANDBOX and (problem := file_problem(value)):
            yield f"{name}={visible(value)}: {problem}"
    for value in values.get("evaluation_sets") or ():
        if value not in BENCHMARKS and (problem := file_problem(value)):
            yield f"evaluation_sets={visible(value)}: {problem}"


def _quantisation(values: Mapping[str, Any]) -> Iterator[str]:
    for name in ("load_in_4bit", "load_in_8bit"):
        if not values.get(name):
            continue
        if not values.get("use_peft"):
            yield f"{name}=True trains nothing by itself; QLoRA needs use_peft: true."
        if values.get("use_vllm"):
            yield (
                f"{name}=True with use_vllm=True is refused: vLLM would sample from other weights "
                "than are trained, and this was never tested on a GPU; leave one out, or set "
                "use_transformers_continuous_batching."
            )
    if values.get("load_in_4bit") and values.get("load_in_8bit"):
        yield "load_in_4bit=True and load_in_8bit=True exclude each other; keep one."


def batch_problems(values: Mapping[str, Any], *, processes: int) -> Iterator[str]:
    """Yield why the batch of `processes` processes does not make whole groups."""
    sizes: list[Any] = [
        values.get(name) for name in ("per_device_train_batch_size", "num_generations")
    ]
    spg = values.get("steps_per_generation")
    total = values.get("generation_batch_size")
    if total is not None and spg is not None:
        yield (
            f"generation_batch_size={total} and steps_per_generation={spg} say the same thing "
            "twice; give one of them."
        )
        return
    passes: Any = spg if spg is not None else values.get("gradient_accumulation_steps")
    if any(not isinstance(size, int) or size < 1 for size in (*sizes, passes)):
        return  # already named
    batch, votes = sizes
    per_pass = batch * processes
    if total is not None:
        step = math.lcm(per_pass, votes)
        if total % step:
            yield (
                f"generation_batch_size={total} must be a multiple of {step}, which holds whole "
                f"groups of num_generations={votes} and whole passes of {per_pass} rollouts; use "
                f"{_neighbours(total, step)}."
            )
        return
    if (per_pass * passes) % votes:
        step = votes // math.gcd(votes, passes * processes)
        name = "gradient_accumulation_steps" if spg is None else "steps_per_generation"
        yield (
            f"per_device_train_batch_size={batch} x {name}={passes} x {processes} "
            f"process(es) = {per_pass * passes} rollouts do not make whole groups of "
            f"num_generations={votes}; use a per_device_train_batch_size of "
            f"{_neighbours(batch, step)}."
        )


def _neighbours(value: int, step: int) -> str:
    """Return the multiples of `step` below and above `value`, in words."""
    below = value // step * step
    return f"{below} or {below + step}" if below else f"{step}"


def _device(values: Mapping[str, Any]) -> Iterator[str]:
    if values.get("use_cpu"):
        return
    import torch
    from transformers.utils import is_torch_bf16_gpu_available

    bf16, fp16 = values.get("bf16"), values.get("fp16")
    wants_bf16 = bf16 if bf16 is not None else not fp16
    if wants_bf16 and not is_torch_bf16_gpu_available():
        there = (
            "this GPU does not know it; set fp16: true"
            if torch.cuda.is_available()
            else (
                "there is no such GPU here; for a run on the CPU set use_cpu: true and bf16: false"
            )
        )
        wants = "bf16, which is on by default," if bf16 is None else f"bf16={bf16}"
        yield f"{wants} needs a GPU that computes in bfloat16: {there}."
    if torch.cuda.device_count() > 1 and "WORLD_SIZE" not in os.environ:
        count = torch.cuda.device_count()
        yield (
            f"{count} GPUs are visible to one process; start one process for each with `accelerate "
            f"launch --num_processes {count} train.py --config ...`, or choose one with "
            "CUDA_VISIBLE_DEVICES=0."
        )


def _trackers(values: Mapping[str, Any]) -> Iterator[str]:
    if not named_trackers(values):
        return
    # Imported late: it takes a second, and most runs that are only looked at name no tracker.
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    known = ["none", "all", *sorted(INTEGRATION_TO_CALLBACK)]
    for name in named_trackers(values):
        if name not in known:
            yield (
                f"report_to={visible(name)} is unknown; choose among {list_names(known)}."
                + near_matches(name, known)
            )


def _run_length(values: Mapping[str, Any], given: Collection[str]) -> Iterator[str]:
    steps = values.get("max_steps")
    if "max_steps" in given and isinstance(steps, int) and steps < 1 and steps != -1:
        yield (
            f"max_steps={steps} must be at least 1; leave it out to train for "
            "instructions_per_iteration x num_selfplay_iterations."
        )


def _resume(values: Mapping[str, Any]) -> Iterator[str]:
    wanted = values.get("resume_from_checkpoint")
    if not wanted or wanted == LATEST_OR_FRESH:
        return
    if values.get("overwrite"):
        yield (
            f"resume={visible(wanted)} and overwrite=True exclude each other: one goes on with the "
            "run, the other puts it aside."
        )
    folder = Path(values.get("output_dir") or "trainer_output").expanduser()
    if is_main_process():
        try:
            choose(folder, wanted if wanted != LATEST else NEWEST)
        except FolderError as error:
            yield visible(str(error))


def _output(values: Mapping[str, Any]) -> Iterator[str]:
    folder = Path(values.get("output_dir") or "trainer_output").expanduser()
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        yield f"output_dir={folder}: {existing} is a file, not a folder."
    elif not os.access(existing, os.W_OK):
        yield f"output_dir={folder}: {existing} is not writable."
    elif values.get("overwrite") and existing == folder:
        if problem := may_be_renamed(folder):
            yield problem
    elif problem := output_problem(folder):
        yield problem
    elif existing == folder:
        found = holds_run(folder)
        if found and not values.get("resume_from_checkpoint"):
            yield (
                f"output_dir={folder} holds another run ({list_names(found)}); go on with it by "
                "--resume auto, put it aside by --overwrite true, or name another folder."
            )


_RANGES: dict[str, tuple[float, float, str]] = {
    "lora_r": (1, 4096, "it is the rank of the adapter; 16 is usual"),
    "lora_alpha": (1, math.inf, "twice lora_r is usual"),
    "lora_dropout": (0, 0.99, "it is a share of the activations"),
    "warmup_steps": (0, math.inf, "whole numbers count steps, fractions are of the run"),
    "weight_decay": (0, math.inf, "0 is usual here"),
    "max_grad_norm": (0, math.inf, "the paper uses 1.0"),
    "adam_beta1": (0, 0.9999999, "0.9 is usual"),
    "adam_beta2": (0, 0.9999999, "0.95 to 0.999 is usual"),
    "adam_epsilon": (1e-30, 1, "1e-8 is usual"),
    "seed": (0, 2**32 - 1, "any such number will do"),
    "save_total_limit": (1, math.inf, "leave it out to keep every checkpoint"),
    "steps_per_generation": (1, math.inf, "leave it out to roll out once per optimizer step"),
    "generation_batch_size": (1, math.inf, "it counts rollouts"),
    "top_k": (-1, math.inf, "0 switches it off"),
    "min_p": (0, 1, "it is a probability"),
    "repetition_penalty": (1e-3, 10, "1 switches it off"),
    "vllm_gpu_memory_utilization": (0.01, 1, "it is a share of the GPU's memory"),
    "vllm_tensor_parallel_size": (1, math.inf, "it counts GPUs"),
    "vllm_max_model_length": (1, math.inf, "it counts tokens"),
    "ddp_timeout": (1, math.inf, "it counts seconds; 1800 is the default"),
    "max_bad_rows": (0, math.inf, "0 accepts none"),
}
