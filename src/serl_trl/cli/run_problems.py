"""What can be known to be wrong with a run before its model is loaded."""

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from serl_trl import sandbox
from serl_trl.common.folder import FolderError
from serl_trl.common.plugin import is_path, shown
from serl_trl.common.problem import Problem
from serl_trl.common.processes import is_main_process, num_processes
from serl_trl.common.text import list_names, near_matches, visible
from serl_trl.data.tables import file_problem, is_hub_id
from serl_trl.measure.benchmarks import BENCHMARKS
from serl_trl.propose.sources.base import LABELLED, UNLABELLED
from serl_trl.propose.sources.registry import missing_sets, needed_sets
from serl_trl.runs.output_folder import may_be_renamed, output_problem
from serl_trl.train.beside import teacher_of_run
from serl_trl.train.checkpoint import NEWEST, NEWEST_OR_NONE, choose
from serl_trl.train.config_checks import find_problems
from serl_trl.train.needs import (
    evaluation_problems,
    named_trackers,
    package_needs,
    reward_problems,
)

# What `resume` is read as where the newest checkpoint must exist; "auto" is `NEWEST_OR_NONE`.
LATEST = "true"

GGUF_RULE = "is made for inference: transformers can read it, but saves nothing that was loaded so"
GGUF_WAY_OUT = 'convert it first, see "My model is a GGUF file" in docs/faq.md'

# A branch or tag can be moved to other code after it was looked at; a commit cannot.
_COMMIT = re.compile(r"[0-9a-f]{40}")


def find_run_problems(values: Mapping[str, Any], *, given: Collection[str]) -> list[Problem]:
    """Return what is wrong with a whole run.

    `values` holds every option with its default, `given` the names that were set on purpose. The
    output folder is looked at by the first process only, before it writes there itself.
    """
    elsewhere = find_problems_elsewhere(values, given=given)
    return [*elsewhere, *find_machine_problems(values)]


def find_problems_elsewhere(values: Mapping[str, Any], *, given: Collection[str]) -> list[Problem]:
    """Return what is wrong with a run that may start on another machine than this one."""
    problems = find_config_problems(values, given=given)
    problems += [*batch_problems(values, processes=num_processes()), *_resume(values)]
    # The first process writes to the folder at once, and the others would find its files.
    return problems + (list(_output(values)) if is_main_process() else [])


def find_config_problems(values: Mapping[str, Any], *, given: Collection[str]) -> list[Problem]:
    """Return what is wrong with a config wherever it is going to run."""
    problems = find_problems(values)
    for check in (_model, _sets, _quantisation, _trackers):
        problems += check(values)
    weights, funcs = values.get("reward_weights"), values.get("reward_funcs") or ()
    label = str(values.get("label_reward"))
    # Whether a labeller of the user's own rewards is found when it is made.
    if not is_path(label):
        problems += reward_problems(label, weights, len(funcs))
    problems += evaluation_problems(values, has_probe=bool(values.get("probe_set")))
    steps = values.get("max_steps")
    # Not given, it is -1 and derived; 0 on purpose would train for nothing and save a copy.
    if "max_steps" in given and isinstance(steps, int) and steps < 1 and steps != -1:
        way_out = "leave it out to train for instructions_per_iteration x num_selfplay_iterations"
        problems.append(Problem("max_steps", steps, "must be at least 1", way_out))
    return problems


def find_machine_problems(values: Mapping[str, Any]) -> list[Problem]:
    """Return what this machine lacks for the run: packages and a GPU."""
    return [*package_needs(values), *_device(values)]


def is_local_path(model: str) -> bool:
    """Return whether a model name means a folder: there is one, or no Hub id is written like it."""
    if not is_hub_id(model):
        return True
    try:
        return Path(model).expanduser().is_dir()
    except (OSError, ValueError):
        return False


def model_location(name: str) -> str:
    """Return the folder or Hub id that a model name means."""
    if name in sandbox.MODEL_PATHS:
        return str(sandbox.MODEL_PATHS[name])
    return str(Path(name).expanduser()) if is_local_path(name) else name


def _model(values: Mapping[str, Any]) -> Iterator[Problem]:
    option, model = "model_name_or_path", values.get("model_name_or_path")
    if not model:
        yield Problem(option, rule="is missing", way_out="give a folder, a Hub id, or `sandbox`")
    else:
        yield from _place(option, model)
    teacher = teacher_of_run(values)
    if teacher and teacher.named:
        yield from _place("teacher", teacher.model)
    revision = str(values.get("model_revision"))
    if values.get("trust_remote_code") and not _COMMIT.fullmatch(revision):
        yield Problem(
            "trust_remote_code",
            True,
            "runs code from the model's repository",
            f"pin it: model_revision={visible(revision)} must be a commit of 40 hexadecimal digits",
            others=("model_revision",),
        )


def _place(option: str, model: str) -> Iterator[Problem]:
    """Yield why a model cannot be loaded from where its name says it lies."""
    if problem := _no_path(option, model):
        yield problem
    elif model.endswith(".gguf"):
        # Before the question whether it is a folder: "models/x.gguf" is written like a Hub id.
        yield Problem(option, model, GGUF_RULE, GGUF_WAY_OUT)
    elif model not in sandbox.MODEL_PATHS and is_local_path(model):
        yield from _model_folder(option, model)


def _model_folder(option: str, model: str) -> Iterator[Problem]:
    folder = Path(model).expanduser()
    if not folder.is_dir():
        beside = folder.parent.iterdir() if folder.parent.is_dir() else ()
        hint = near_matches(folder.name, [path.name for path in beside]).strip()
        rule = f"is neither a folder (in {Path.cwd()}) nor a Hub id (owner/name)"
        yield Problem(option, model, rule, hint)
    # An adapter has no config of a model, and its base is asked for later.
    elif not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        if any(folder.glob("*.gguf")):
            yield Problem(option, model, f"holds only a GGUF file, which {GGUF_RULE}", GGUF_WAY_OUT)
        else:
            yield Problem(option, model, "holds no config.json, so it is not a model")


def _sets(values: Mapping[str, Any]) -> Iterator[Problem]:
    if not values.get("seed_set"):
        files = "a .jsonl, .json, .csv, .parquet or .txt file"
        way_out = f"give {files}, a Hub dataset, or `sandbox`"
        yield Problem("seed_set", rule="is missing", way_out=way_out)
    given = {name: values[name] for name in (LABELLED, UNLABELLED) if values.get(name)}
    needed = needed_sets(values.get("sources"))
    # Another source may read either set; it is asked when the run is built.
    yield from missing_sets(needed or (), given)
    named = [(name, values.get(name)) for name in ("seed_set", "probe_set")]
    named += [(name, each) for name, all_of in given.items() for each in all_of]
    named += [
        ("evaluation_sets", name)
        for name in values.get("evaluation_sets") or ()
        if name not in BENCHMARKS
    ]
    for option, value in named:
        if value and value not in sandbox.MODEL_PATHS and (problem := file_problem(value)):
            yield Problem(option, value, f": {problem}")


def _quantisation(values: Mapping[str, Any]) -> Iterator[Problem]:
    asked = [name for name in ("load_in_4bit", "load_in_8bit") if values.get(name)]
    for name in asked:
        if not values.get("use_peft"):
            yield Problem(name, True, "trains nothing by itself; QLoRA needs use_peft: true")
        if values.get("use_vllm"):
            yield Problem(
                name,
                True,
                "with use_vllm=True is refused: vLLM would sample from other weights than are "
                "trained, and this was never tested on a GPU",
                "leave one out, or set use_transformers_continuous_batching",
                others=("use_vllm",),
            )
    if len(asked) > 1:
        rule = "and load_in_8bit=True exclude each other"
        yield Problem("load_in_4bit", True, rule, "keep one", others=("load_in_8bit",))


def batch_problems(values: Mapping[str, Any], *, processes: int) -> Iterator[Problem]:
    """Yield why the batch of `processes` processes does not make whole groups."""
    batch: Any = values.get("per_device_train_batch_size")
    votes: Any = values.get("num_generations")
    per_generation: Any = values.get("steps_per_generation")
    total = values.get("generation_batch_size")
    if total is not None and per_generation is not None:
        rule = f"and steps_per_generation={per_generation} say the same thing twice"
        others = ("steps_per_generation",)
        yield Problem("generation_batch_size", total, rule, "give one of them", others=others)
        return
    name = "gradient_accumulation_steps" if per_generation is None else "steps_per_generation"
    passes: Any = values.get(name)
    # Of another type or out of range they are named already.
    if any(not isinstance(size, int) or size < 1 for size in (batch, votes, passes)):
        return
    per_pass = batch * processes
    if total is not None:
        # Whole passes for every process, and whole groups: the vote needs all of a group.
        step = math.lcm(per_pass, votes)
        if total % step:
            yield Problem(
                "generation_batch_size",
                total,
                f"must be a multiple of {step}, which holds whole groups of "
                f"num_generations={votes} and whole passes of {per_pass} rollouts",
                f"use {_neighbours(total, step)}",
                others=("num_generations",),
            )
    elif (per_pass * passes) % votes:
        # The smallest factor of the batch with which all passes together are whole groups.
        step = votes // math.gcd(votes, passes * processes)
        yield Problem(
            "per_device_train_batch_size",
            batch,
            f"x {name}={passes} x {processes} process(es) = {per_pass * passes} rollouts do not "
            f"make whole groups of num_generations={votes}",
            f"use a per_device_train_batch_size of {_neighbours(batch, step)}",
            others=(name, "num_generations"),
        )


def _neighbours(value: int, step: int) -> str:
    """Return the multiples of `step` below and above `value`, in words."""
    below = value // step * step
    return f"{below} or {below + step}" if below else f"{step}"


def _device(values: Mapping[str, Any]) -> Iterator[Problem]:
    if values.get("use_cpu"):
        return
    import torch
    from transformers.utils import is_torch_bf16_gpu_available

    bf16 = values.get("bf16")
    # transformers turns bf16 on when neither it nor fp16 is given.
    wants_bf16 = bf16 if bf16 is not None else not values.get("fp16")
    if wants_bf16 and not is_torch_bf16_gpu_available():
        there = (
            "this GPU does not know it; set fp16: true"
            if torch.cuda.is_available()
            else "there is no such GPU here; for a run on the CPU set use_cpu: true and bf16: false"
        )
        by_default = ", which is on by default," if bf16 is None else ""
        rule = f"{by_default} needs a GPU that computes in bfloat16: {there}"
        yield Problem("bf16", bf16, rule if bf16 is None else rule.strip())
    count = torch.cuda.device_count()
    # transformers would wrap the model in DataParallel, which TRL does not drive.
    if count > 1 and "WORLD_SIZE" not in os.environ:
        launch = f"accelerate launch --num_processes {count} train.py --config ..."
        way_out = f"start one process for each with `{launch}`, or choose one with "
        rule = f"{count} GPUs are visible to one process"
        yield Problem("", rule=rule, way_out=f"{way_out}CUDA_VISIBLE_DEVICES=0")


def _trackers(values: Mapping[str, Any]) -> Iterator[Problem]:
    if not named_trackers(values):
        return
    # Imported late: it takes a second, and most runs that are only looked at name no tracker.
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    known = ["none", "all", *sorted(INTEGRATION_TO_CALLBACK)]
    for name in named_trackers(values):
        if name not in known:
            rule = f"is unknown; choose among {list_names(known)}"
            yield Problem("report_to", name, rule, near_matches(name, known).strip())


def _resume(values: Mapping[str, Any]) -> Iterator[Problem]:
    wanted = values.get("resume_from_checkpoint")
    if not wanted or wanted == NEWEST_OR_NONE:
        return
    if values.get("overwrite"):
        rule = "and overwrite=True exclude each other: one resumes the run, the other puts it "
        yield Problem("resume", wanted, f"{rule}aside", others=("overwrite",))
    # The name is transformers' own where the user gives none.
    folder = Path(values.get("output_dir") or "trainer_output").expanduser()
    if problem := _no_path("resume", wanted):
        yield problem
    elif is_main_process() and not _no_path("output_dir", folder):
        try:
            choose(folder, wanted if wanted != LATEST else NEWEST)
        except FolderError as error:
            yield Problem("", rule=visible(str(error)), others=("resume",))


def _output(values: Mapping[str, Any]) -> Iterator[Problem]:
    folder = Path(values.get("output_dir") or "trainer_output").expanduser()
    if problem := _no_path("output_dir", folder):
        yield problem
        return
    # The folder need not be there yet; what will hold it must be writable.
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        yield Problem("output_dir", folder, f": {existing} is a file, not a folder")
    elif not os.access(existing, os.W_OK):
        yield Problem("output_dir", folder, f": {existing} is not writable")
    elif values.get("overwrite") and existing == folder:
        if problem := may_be_renamed(folder):
            yield Problem("", rule=problem, others=("output_dir", "overwrite"))
    elif problem := output_problem(folder):
        yield Problem("", rule=problem, others=("output_dir",))
    elif not values.get("resume_from_checkpoint") and (found := _signs_of_a_run(folder)):
        yield Problem(
            "output_dir",
            folder,
            f"holds another run ({list_names(found)})",
            "resume it by --resume auto, put it aside by --overwrite true, or name another folder",
        )


def _no_path(option: str, value: Any) -> Problem | None:
    """Return the problem of a text that no file system takes: too long, or with a NUL."""
    try:
        os.stat(str(value))
    # A path like any other; whoever opens it says what is wrong with it.
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Problem(option, shown(str(value)), f"cannot be a path: {reason}")
    return None


def _signs_of_a_run(folder: Path) -> list[str]:
    """Return what in `folder` shows that a run wrote it; empty when none did."""
    signs = ("_serl", "checkpoint-*", "*.safetensors", "trainer_state.json")
    return sorted({path.name for sign in signs for path in folder.glob(sign)})
