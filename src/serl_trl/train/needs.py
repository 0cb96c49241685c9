"""What options need beside themselves: packages, reward functions, problems to measure on.

A config and a trainer ask here alike, before any weights are loaded.
"""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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
