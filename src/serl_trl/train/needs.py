"""What options need beside themselves: packages, reward functions, problems to measure on.

A config and a trainer ask here alike, before any weights are loaded.
"""

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serl_trl.common.text import visible

if TYPE_CHECKING:
    from serl_trl.train.config import SeRLConfig

# TRL 1.16 drives these; outside it warns and goes on.
_VLLM_VERSIONS = ((0, 22), (0, 31))
_EIGHT_BIT = ("lion_", "paged_", "rmsprop_bnb", "adamw_bnb", "adamw_8bit", "ademamix")
# By the beginning of an optimizer's name: the module, and what pip calls it.
_OPTIMIZERS: dict[tuple[str, ...], tuple[str, str]] = {
    ("adamw_torch_4bit", "adamw_torch_8bit"): ("torchao", "torchao"),
    ("adamw_anyprecision",): ("torchdistx", "torchdistx"),
    ("galore_",): ("galore_torch", "galore-torch"),
    ("lomo", "adalomo"): ("lomo_optim", "lomo-optim"),
    ("grokadamw",): ("grokadamw", "grokadamw"),
    ("schedule_free_",): ("schedulefree", "schedulefree"),
    ("apollo_",): ("apollo_torch", "apollo-torch"),
    ("stable_adamw",): ("optimi", "torch-optimi"),
    _EIGHT_BIT: ("bitsandbytes", "serl-trl[qlora]"),
}


def missing_package(modules: Sequence[str], install: str) -> str:
    """Return how to install what gives one of `modules`; nothing when one is there."""
    if any(map(importlib.util.find_spec, modules)):
        return ""
    return f"{modules[0]} is not installed; run: pip install '{install}'"


def package_needs(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield one sentence for each package that TRL or transformers would miss later."""
    needs: list[tuple[str, Sequence[str], str]] = []
    if values.get("use_liger_kernel"):
        needs.append(("use_liger_kernel=True", ["liger_kernel"], "liger-kernel"))
    optim = _text(values.get("optim"))
    for beginnings, (module, install) in _OPTIMIZERS.items():
        if optim.startswith(beginnings):
            needs.append((f"optim={optim}", [module], install))
    attention = _text(values.get("attn_implementation"))
    if kernel := _attention_needs(attention.removeprefix("paged|")):
        needs.append((f"attn_implementation={attention}", *kernel))
    if values.get("deepspeed"):
        needs.append(("deepspeed", ["deepspeed"], "serl-trl[deepspeed]"))
    for label, modules, install in needs:
        if problem := missing_package(modules, install):
            yield f"{label}: {problem}."


def reward_problems(label_reward: Any, weights: Any, num_functions: int) -> Iterator[str]:
    """Yield why the rewards make no sum; `num_functions` counts those beside the label reward."""
    labelled = label_reward != "none"
    needed = num_functions + labelled
    if not needed:
        yield "label_reward=none needs at least one reward function; give one by reward_funcs."
    elif isinstance(weights, list) and len(weights) != needed:
        yield (
            f"reward_weights={weights} has {len(weights)} of the {needed} weights needed: one "
            "for the label reward, unless label_reward is none, and one for each of reward_funcs."
        )


def evaluation_problems(values: Mapping[str, Any], *, has_probe: bool) -> Iterator[str]:
    """Yield which options measure on a probe set where there is none."""
    if has_probe:
        return
    measuring = {
        "eval_strategy": (lambda value: value != "no", "set eval_strategy: no"),
        "eval_on_start": (lambda value: value == "True", "leave it out"),
        "save_strategy": (lambda value: value == "best", "set save_strategy: steps"),
    }
    for name, (measures, way_out) in measuring.items():
        value = _text(values.get(name) or "no")
        if measures(value):
            yield (
                f"{name}={value} measures on a probe set, and there is none; give probe_set "
                f"(in Python eval_dataset), or {way_out}."
            )


def _attention_needs(name: str) -> tuple[Sequence[str], str] | None:
    if "/" in name:
        return ["kernels"], "kernels"
    if name == "flash_attention_3":
        return ["flash_attn_interface", "kernels"], "kernels"
    if name.startswith("flash_attention_"):
        return ["flash_attn", "kernels"], "kernels"
    return None


def _text(value: Any) -> str:
    """Return an option's value as it is written; transformers makes members of an enum of some."""
    return str(getattr(value, "value", value) or "")


def package_problems(values: Mapping[str, Any]) -> list[str]:
    """Return which packages that the options need are not installed."""
    return list(_packages(values))


def missing_extra(package: str, extra: str) -> str:
    """Return how to install `package`, or nothing when it is there."""
    return missing_package([package], f"serl-trl[{extra}]")


def _packages(values: Mapping[str, Any]) -> Iterator[str]:
    if values.get("embedding_model") and (
        problem := missing_extra("sentence_transformers", "embeddings")
    ):
        yield f"embedding_model={visible(values['embedding_model'])}: {problem}."
    for name in ("load_in_4bit", "load_in_8bit"):
        if values.get(name) and (problem := missing_extra("bitsandbytes", "qlora")):
            yield f"{name}=True: {problem}."
    if values.get("use_vllm") and (problem := vllm_problem()):
        yield f"use_vllm=True: {problem}."
    yield from package_needs(values)
    yield from _missing_trackers(values)


def vllm_problem() -> str:
    """Return why vLLM cannot be used here, and how to install it; nothing when it can."""
    if problem := missing_extra("vllm", "vllm"):
        return problem
    version = importlib.metadata.version("vllm")
    release = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    low, high = _VLLM_VERSIONS
    if low <= release <= high:
        return ""
    return (
        f"vllm {version} is installed, TRL drives {low[0]}.{low[1]} to {high[0]}.{high[1]}; run: "
        "pip install 'serl-trl[vllm]'"
    )


def _missing_trackers(values: Mapping[str, Any]) -> Iterator[str]:
    if not named_trackers(values):
        return
    from transformers.integrations import get_available_reporting_integrations
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    installed = get_available_reporting_integrations()
    for name in named_trackers(values):
        if name in INTEGRATION_TO_CALLBACK and name not in installed:
            yield f"report_to={name}: {name} is not installed; install it, or set report_to: none."


def named_trackers(values: Mapping[str, Any]) -> list[str]:
    """Return what `report_to` names beside none and all."""
    named = values.get("report_to") or []
    names = [named] if isinstance(named, str) else list(named)
    return [name for name in names if name not in ("none", "all")]


def argument_problems(
    args: "SeRLConfig", quantization_config: Any, num_functions: int, *, has_probe: bool
) -> list[str]:
    """Return what the arguments of a trainer lack, one sentence each, without loading weights.

    `num_functions` counts the reward functions beside the label reward.
    """
    values = {**vars(args), "load_in_4bit": getattr(quantization_config, "load_in_4bit", False)}
    values["load_in_8bit"] = getattr(quantization_config, "load_in_8bit", False)
    return [
        *package_problems(values),
        *reward_problems(args.label_reward, args.reward_weights, num_functions),
        *evaluation_problems(values, has_probe=has_probe),
    ]
