"""What options need beside themselves: packages, reward functions, problems to measure on.

A config and a trainer ask here alike, before any weights are loaded.
"""

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serl_trl.common.problem import Problem
from serl_trl.labels.registry import known_labeller

if TYPE_CHECKING:
    from serl_trl.train.config import SeRLConfig

# TRL 1.16 drives these; with another version it only warns.
_VLLM_VERSIONS = ((0, 22), (0, 31))

_QLORA = (("bitsandbytes",), "serl-trl[qlora]")
_KERNELS = (("flash_attn", "kernels"), "kernels")
# Option; the form of its value; modules of which one is enough; what pip calls the first. Of the
# rows of an option the first that fits counts.
_PACKAGES: tuple[tuple[str, str, tuple[tuple[str, ...], str]], ...] = (
    ("use_liger_kernel", "True", (("liger_kernel",), "liger-kernel")),
    ("deepspeed", ".+", (("deepspeed",), "serl-trl[deepspeed]")),
    ("embedding_model", ".+", (("sentence_transformers",), "serl-trl[embeddings]")),
    ("load_in_4bit", "True", _QLORA),
    ("load_in_8bit", "True", _QLORA),
    ("optim", "adamw_torch_[48]bit.*", (("torchao",), "torchao")),
    ("optim", "adamw_anyprecision.*", (("torchdistx",), "torchdistx")),
    ("optim", "galore_.*", (("galore_torch",), "galore-torch")),
    ("optim", "lomo.*|adalomo.*", (("lomo_optim",), "lomo-optim")),
    ("optim", "grokadamw.*", (("grokadamw",), "grokadamw")),
    ("optim", "schedule_free_.*", (("schedulefree",), "schedulefree")),
    ("optim", "apollo_.*", (("apollo_torch",), "apollo-torch")),
    ("optim", "stable_adamw.*", (("optimi",), "torch-optimi")),
    ("optim", "(lion_|paged_|rmsprop_bnb|adamw_bnb|adamw_8bit|ademamix).*", _QLORA),
    ("attn_implementation", ".*/.*", (("kernels",), "kernels")),
    (
        "attn_implementation",
        r"(paged\|)?flash_attention_3",
        (("flash_attn_interface", "kernels"), "kernels"),
    ),
    ("attn_implementation", r"(paged\|)?flash_attention_.*", _KERNELS),
)
# What measures on the probe set: option, value, way out.
_MEASURING = (
    ("eval_strategy", "steps|epoch", "set eval_strategy: no"),
    ("eval_on_start", "True", "leave it out"),
    ("save_strategy", "best", "set save_strategy: steps"),
    ("probe_decides", "True", "leave it out"),
)


def missing_package(modules: Sequence[str], install: str) -> str:
    """Return how to install what gives one of `modules`; nothing when one is there."""
    if any(map(importlib.util.find_spec, modules)):
        return ""
    return f"{modules[0]} is not installed; run: pip install '{install}'"


def package_needs(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the options whose packages are not installed, or in another version than TRL drives."""
    if values.get("use_vllm") and (problem := vllm_problem()):
        yield Problem("use_vllm", True, f": {problem}")
    # A more special form stands above a general one, and only the first is said.
    looked_at = set()
    for option, form, (modules, install) in _PACKAGES:
        text = _text(values.get(option))
        if not text or option in looked_at or not re.fullmatch(form, text):
            continue
        looked_at.add(option)
        # deepspeed names a file or holds a mapping, neither of which says anything here.
        if problem := missing_package(modules, install):
            yield Problem(option, None if option == "deepspeed" else text, f": {problem}")
    yield from _missing_trackers(values)


def vllm_problem() -> str:
    """Return why vLLM cannot be used here, and how to install it; nothing when it can."""
    if problem := missing_package(["vllm"], "serl-trl[vllm]"):
        return problem
    # Read from the metadata: importing vLLM takes many seconds.
    version = importlib.metadata.version("vllm")
    # Major and minor alone: a version may end in "rc1" or "+cu128".
    release = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    low, high = _VLLM_VERSIONS
    if low <= release <= high:
        return ""
    return (
        f"vllm {version} is installed, TRL drives {low[0]}.{low[1]} to {high[0]}.{high[1]}; run: "
        "pip install 'serl-trl[vllm]'"
    )


def _missing_trackers(values: Mapping[str, Any]) -> Iterator[Problem]:
    if not named_trackers(values):
        return
    # Imported late: it takes a second, and most runs name no tracker.
    from transformers.integrations import get_available_reporting_integrations
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    installed = get_available_reporting_integrations()
    for name in named_trackers(values):
        if name in INTEGRATION_TO_CALLBACK and name not in installed:
            rule = f": {name} is not installed"
            yield Problem("report_to", name, rule, "install it, or set report_to: none")


def named_trackers(values: Mapping[str, Any]) -> list[str]:
    """Return what `report_to` names beside none and all."""
    named = values.get("report_to") or []
    names = [named] if isinstance(named, str) else list(named)
    return [name for name in names if name not in ("none", "all")]


def reward_problems(
    label_reward: Any, weights: Any, num_functions: int, *, rewards: bool | None = None
) -> Iterator[Problem]:
    """Yield why the rewards make no sum; `num_functions` counts those beside the label reward.

    `rewards` says whether the labeller's own train; `None` goes by its name.
    """
    # TRL multiplies the rewards by the weights only in the first step.
    rewards = known_labeller(label_reward).rewards if rewards is None else rewards
    needed = num_functions + rewards
    if not needed:
        rule = "needs at least one reward function"
        yield Problem("label_reward", label_reward, rule, "give one by reward_funcs")
    elif isinstance(weights, list) and len(weights) != needed:
        yield Problem(
            "reward_weights",
            weights,
            f"has {len(weights)} of the {needed} weights needed: one for the label reward, unless "
            "label_reward is none, and one for each of reward_funcs",
        )


def evaluation_problems(values: Mapping[str, Any], *, has_probe: bool) -> Iterator[Problem]:
    """Yield which options measure on a probe set where there is none."""
    for name, form, way_out in () if has_probe else _MEASURING:
        value = _text(values.get(name))
        if re.fullmatch(form, value):
            rule = "measures on a probe set, and none is given"
            where = "give probe_set (in Python eval_dataset), or"
            yield Problem(name, value, rule, f"{where} {way_out}")


def _text(value: Any) -> str:
    """Return an option's value as it is written; transformers makes members of an enum of some."""
    return str(getattr(value, "value", value) or "")


def argument_problems(
    args: "SeRLConfig",
    quantization_config: Any,
    num_functions: int,
    *,
    has_probe: bool,
    rewards: bool | None = None,
) -> list[str]:
    """Return what the arguments of a trainer lack, one sentence each, without loading weights.

    `num_functions` and `rewards` are those of `reward_problems`.
    """
    bits = ("load_in_4bit", "load_in_8bit")
    values = {**vars(args), **{name: getattr(quantization_config, name, False) for name in bits}}
    problems = [
        *package_needs(values),
        *reward_problems(args.label_reward, args.reward_weights, num_functions, rewards=rewards),
        *evaluation_problems(values, has_probe=has_probe),
    ]
    return [str(problem) for problem in problems]
