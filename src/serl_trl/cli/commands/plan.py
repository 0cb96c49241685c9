"""`serl plan`: what a run takes in memory, tokens and time, before anything is loaded."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from serl_trl import sandbox
from serl_trl.answers.equality import known_labels
from serl_trl.cli.command_options import PlanOptions
from serl_trl.cli.parser import SeRLParser
from serl_trl.cli.run_problems import batch_problems, is_local_path, model_location
from serl_trl.common.console import OK, say, write_json
from serl_trl.common.errors import SeRLConfigError
from serl_trl.common.plugin import shown
from serl_trl.common.problem import Problem
from serl_trl.common.processes import num_processes
from serl_trl.common.text import one_line, visible
from serl_trl.labels.chance import ends_of, noise_in_band
from serl_trl.measure.sentinel import completions_per_step
from serl_trl.plan import estimate
from serl_trl.plan.asked import asked_per_question, sampled_per_trained
from serl_trl.plan.shapes import SHAPES, ModelShape, shape_of_config
from serl_trl.propose.sources.base import LABELLED, UNLABELLED
from serl_trl.train.beside import teacher_of_run

_STYLES = {"yes": "green", "tight": "yellow", "no": "red"}
# Parts of `Memory` in the order in which they are shown.
_LABELS = {
    "weights": "weights",
    "optimizer": "optimizer",
    "reference": "reference model, teacher",
    "gradients": "gradients (updating)",
    "activations": "activations (updating)",
    "kv_cache": "KV cache (sampling)",
    "sampling": "first pass over prompts, logits (sampling)",
    "engine": "vLLM, its weights and KV cache",
    "overhead": "CUDA context, fragments",
    "sampling_peak": "peak while sampling",
    "updating_peak": "peak while updating",
}


def run(argv: Sequence[str], out: Console) -> int:
    """Estimate the run that `argv` and its config describe, and print the estimate."""
    values = SeRLParser(prog="serl plan", extra=PlanOptions).read_values(argv)
    launch = _read_launch(values["accelerate_config"])
    layout = _find_layout(values, launch)
    if problems := list(batch_problems(values, processes=layout.num_gpus)):
        raise SeRLConfigError(problems)
    gpu, gpu_name = _find_gpu(values)
    teacher = teacher_of_run(values)
    if teacher and teacher.named:
        place = {"model_name_or_path": teacher.model, "model_revision": None}
        shape = find_shape({**values, **place, "trust_remote_code": False})
        values["teacher_parameters"] = shape.num_parameters
    report = {
        "model": values["model_name_or_path"],
        "gpu": gpu_name,
        **_memory(values, find_shape(values), layout, gpu),
        **_work(values, layout),
        "noise_in_band": _noise_in_band(values),
        "skipped": [*_skipped(values), *_skipped_of_launch(launch)],
    }
    _show(report, out)
    write_json(values["json"], report)
    return OK


def find_shape(values: Mapping[str, Any]) -> ModelShape:
    """Return the sizes of the model: from the table, else from its config in a folder or the Hub.

    Raises `SeRLConfigError` when neither is to be had.
    """
    from transformers import AutoConfig

    name = values["model_name_or_path"]
    if name in SHAPES and not is_local_path(name):
        return SHAPES[name]
    place = model_location(name)
    revision, trust = values["model_revision"], values["trust_remote_code"]
    try:
        config = AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=trust)
        return shape_of_config(config, Path(place) if Path(place).is_dir() else None)
    except (OSError, ValueError) as error:
        problem = (
            f"model_name_or_path={visible(name)}: the sizes of this model are unknown here, "
            f"and its config cannot be read: {one_line(error)}. Sizes that need no Hub: "
            f"{', '.join(SHAPES)}."
        )
        raise SeRLConfigError([problem]) from error


def _find_layout(values: Mapping[str, Any], launch: Any) -> estimate.Layout:
    if launch is None:
        return estimate.Layout(values["num_gpus"] or num_processes())
    sharding = "none"
    deepspeed = launch.deepspeed_config
    # accelerate leaves an empty mapping, or None, for what the file does not have.
    if isinstance(deepspeed, dict) and (stage := deepspeed.get("zero_stage")):
        sharding = "zero3" if stage == 3 else "zero2"
    elif launch.fsdp_config:
        sharding = "fsdp2"
    num_gpus = values["num_gpus"] or launch.num_processes
    # The YAML may hold a value of any type.
    if not isinstance(num_gpus, int) or num_gpus < 1:
        rule = f"has num_processes={shown(str(num_gpus))}, which must be a number from 1"
        raise SeRLConfigError([Problem("accelerate_config", values["accelerate_config"], rule)])
    return estimate.Layout(num_gpus, sharding)


def _read_launch(path: str | None) -> Any:
    """Return what a file for accelerate launch says, or `None` without one."""
    if path is None:
        return None
    from accelerate.commands.config.config_args import load_config_from_file

    try:
        # accelerate checks nothing: a file of another kind fails wherever its values are used
        # first.
        return load_config_from_file(str(Path(path).expanduser()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        problem = f"accelerate_config={visible(path)} cannot be read: {one_line(error)}."
        raise SeRLConfigError([problem]) from error


def _find_gpu(values: Mapping[str, Any]) -> tuple[float | None, str | None]:
    if values["gpu"] is not None:
        try:
            return estimate.gpu_bytes(values["gpu"]), values["gpu"]
        except ValueError as error:
            raise SeRLConfigError([str(error)]) from error
    import torch

    if not torch.cuda.is_available():
        return None, None
    found = torch.cuda.get_device_properties(0)
    return float(found.total_memory), found.name


# The report, in plain numbers: memory in GiB per GPU, times in seconds.


def _memory(
    values: Mapping[str, Any], shape: ModelShape, layout: estimate.Layout, gpu: float | None
) -> dict[str, Any]:
    memory = estimate.estimate_memory(values, shape, layout, gpu=gpu)
    # On a GPU of unknown size everything fits, and there is nothing to change.
    most = math.inf if gpu is None else gpu
    knobs = estimate.find_knobs(values, shape, layout, gpu=most)
    return {
        "num_parameters": shape.num_parameters,
        "num_trained_parameters": estimate.trained_parameters(values, shape),
        "num_gpus": layout.num_gpus,
        "sharding": layout.sharding,
        "gpu_gib": None if gpu is None else gpu / estimate.GIB,
        "memory_gib": {name: getattr(memory, name) / estimate.GIB for name in _LABELS},
        "peak_gib": memory.peak / estimate.GIB,
        "verdict": _verdict(memory.peak, gpu),
        "fits": None if gpu is None else memory.peak <= gpu,
        "knobs": [
            {
                "changes": dict(knob.changes),
                "peak_gib": knob.peak / estimate.GIB,
                "fits": knob.peak <= most,
            }
            for knob in knobs
        ],
        "notes": estimate.find_notes(values, shape, layout, gpu=gpu),
    }


def _noise_in_band(values: Mapping[str, Any]) -> float | None:
    """Return the share of groups of random votes in the band; `None` where that is not known."""
    known = known_labels(values["answer_kind"])
    if not known or not (values["use_selfplay"] and values["use_band"]):
        return None
    ends = ends_of(values)
    votes = values["num_generations"]
    return noise_in_band(votes=votes, labels=len(known), low=ends.low, high=ends.high)


def _verdict(peak: float, gpu: float | None) -> str:
    """Return whether `peak` bytes fit a GPU: yes, tight, no, or unknown without a GPU.

    Tight is what an estimate that errs by a quarter may break: more than four fifths of the memory.
    """
    if gpu is None:
        return "unknown"
    if peak > gpu:
        return "no"
    return "tight" if peak > estimate.TIGHT * gpu else "yes"


def _work(values: Mapping[str, Any], layout: estimate.Layout) -> dict[str, Any]:
    steps = estimate.count_steps(values, layout)
    step = estimate.estimate_step(values, layout, kept_ratio=values["kept_ratio"])
    asked = asked_per_question(values)
    longest, looked = values["max_completion_length"], completions_per_step(values)
    sampled = step.sampled_tokens + asked * step.prompts * longest // values["num_iterations"]
    sampled += round(looked * longest)
    speeds = {
        "sampling": (sampled, values["tokens_per_s"]),
        "updating": (step.trained_tokens, values["update_tokens_per_s"]),
    }
    seconds = {
        name: None if speed is None else tokens / speed for name, (tokens, speed) in speeds.items()
    }
    # One speed alone gives the time of its part, and the other is said to be missing.
    known = [value for value in seconds.values() if value is not None]
    return {
        "rows_sampled_at_once": estimate.rows_at_once(values),
        "prompts_per_step": step.prompts,
        "rollouts_per_step": step.rollouts,
        "max_trained_tokens_per_step": step.trained_tokens,
        "max_sampled_tokens_per_step": sampled,
        "sampled_per_trained": sampled_per_trained(values, kept_ratio=values["kept_ratio"])
        + asked / values["num_generations"],
        "asked_per_question": asked,
        "asked_per_step": asked * step.prompts,
        "sentinel_completions_per_step": looked,
        "sentinel_share": looked * longest / max(1, sampled),
        "num_steps": steps,
        "step_s": seconds,
        "run_h": sum(known) * steps / 3600 if known else None,
    }


def _skipped(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a plan does not look at, because it may lie on the Hub."""
    yield "tokenizer: an instruction counts as max_instruction_tokens"
    named = [(name, values[name]) for name in ("seed_set", "probe_set")]
    named += [(name, each) for name in (LABELLED, UNLABELLED) for each in values[name] or ()]
    for name, value in named:
        if value and value not in sandbox.MODEL_PATHS and not Path(value).exists():
            yield f"{name}: {visible(value)} is not read"


def _skipped_of_launch(launch: Any) -> Iterator[str]:
    deepspeed = getattr(launch, "deepspeed_config", None) or {}
    fsdp = getattr(launch, "fsdp_config", None) or {}
    for settings, name in (
        (deepspeed, "offload_optimizer_device"),
        (deepspeed, "offload_param_device"),
        (fsdp, "fsdp_offload_params"),
    ):
        if settings.get(name) not in (None, "none", False):
            yield f"{name}: what is moved to the CPU is counted as if it stayed on the GPU"
    if "deepspeed_config_file" in deepspeed:
        yield "deepspeed_config_file: is not read; sharding none is assumed"


# Showing.


def _line(out: Console, label: str, text: str) -> None:
    say(out, f"{label:<24}  {text}")


def _show(report: Mapping[str, Any], out: Console) -> None:
    line = partial(_line, out)
    trained = report["num_trained_parameters"] / report["num_parameters"]
    size = f"{report['num_parameters'] / 1e9:.2f} G parameters"
    line("model_name_or_path", f"{visible(report['model'])}, {size}")
    line("trained", f"{report['num_trained_parameters'] / 1e6:,.1f} M, {trained:.1%}")
    line("num_gpus", f"{report['num_gpus']}, sharding {report['sharding']}")
    say(out, "memory per GPU, GiB, estimated")
    for name, value in report["memory_gib"].items():
        if value:
            say(out, f"  {_LABELS[name]:<44}{value:8.1f}")
    _show_fit(report, out)
    sizes = f"{report['prompts_per_step']} prompts, {report['rollouts_per_step']} rollouts, "
    sizes += f"{report['sampled_per_trained']:.1f} sampled for each trained on"
    line("per step", sizes)
    line(
        "tokens per step, at most",
        f"{report['max_sampled_tokens_per_step']:,} sampled, "
        f"{report['max_trained_tokens_per_step']:,} trained on",
    )
    if report["asked_per_question"]:
        line(
            "validity",
            f"asks {report['asked_per_question']} completions about each question that is kept, "
            f"about {report['asked_per_step']} per step",
        )
    if looked := report["sentinel_completions_per_step"]:
        share = f"{report['sentinel_share']:.1%} of the tokens sampled"
        line("sentinel set", f"{looked:.3g} completions per step on average, {share}")
    line("max_steps", f"{report['num_steps']:,}")
    _show_time(report, out)
    if report["noise_in_band"] is not None:
        line(
            "noise in band",
            f"{report['noise_in_band']:.1%} of groups of random votes, if all can be read",
        )
    for name in ("notes", "skipped"):
        for text in report[name]:
            line(name, visible(text))


def _show_fit(report: Mapping[str, Any], out: Console) -> None:
    if report["gpu"] is None:
        _line(out, "fits", "unknown: no GPU was found; name one with --gpu 24gb")
    else:
        said = report["verdict"]
        text = f"{report['peak_gib']:.1f} of {report['gpu_gib']:.1f} GiB of {report['gpu']}"
        text += "; the estimate may err by a quarter" if said == "tight" else ""
        out.print(f"{'fits':<24}  {said}: {visible(text)}", style=_STYLES[said], soft_wrap=True)
    for number, knob in enumerate(report["knobs"], start=1):
        label = "to change, in this order" if number == 1 else ""
        fits = ", fits" if knob["fits"] else ""
        changes = _knob_text(knob["changes"])
        _line(out, label, f"{number}. {changes}: {knob['peak_gib']:.1f} GiB{fits}")
    # `None` is a GPU of unknown size, of which nothing can be said.
    if report["fits"] is False and not any(knob["fits"] for knob in report["knobs"]):
        _line(out, "", "that is not enough: take a smaller model or a larger GPU")


def _show_time(report: Mapping[str, Any], out: Console) -> None:
    known = {name: value for name, value in report["step_s"].items() if value is not None}
    if not known:
        _line(out, "time", "unknown: give --tokens_per_s and --update_tokens_per_s")
        return
    parts = ", ".join(f"{name} {value:,.0f} s" for name, value in known.items())
    missing = [name for name in report["step_s"] if name not in known]
    rest = f"; {missing[0]} not counted" if missing else ""
    _line(out, "time per step, at most", f"{parts}{rest}; the run {report['run_h']:,.1f} h")


def _knob_text(changes: Mapping[str, Any]) -> str:
    shown = []
    for name, value in changes.items():
        if name == "sharding":
            shown.append(f"--accelerate_config configs/accelerate/{value}.yaml")
        else:
            text = str(value).lower() if isinstance(value, bool) else value
            shown.append(f"{name}: {' '.join(text) if isinstance(text, list) else text}")
    return ", ".join(shown)
