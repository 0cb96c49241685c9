"""What is wrong with the values of a config, found before anything is built from them."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from serl_trl.common.plugin import package_problems
from serl_trl.common.secrets import is_secret, secret_in
from serl_trl.train.options import (
    ADVANTAGES,
    FULL_DISK_RULES,
    LABEL_REWARDS,
    NOVELTY_RULES,
    NOVELTY_SCOPES,
    PROMPT_SOURCES,
    PROMPT_STYLES,
)


def find_problems(values: Mapping[str, Any]) -> list[str]:
    """Return one line per bad value or combination; empty when the run may start.

    Works on raw values, before anything is built from them, so that all problems are named at once.
    """
    values = {name: _parsed(value) for name, value in values.items()}
    problems = [
        f"{name} holds {what}, and options are saved with the run; log in with `hf auth login`, or "
        "set a variable such as HF_TOKEN in the shell."
        for name, value in values.items()
        if name != "hub_token" and (what := _secret_in(value))
    ]
    problems += out_of_range(values, _RANGES)
    for name, choices in _CHOICES.items():
        value = values.get(name)
        if value is not None and value not in choices:
            problems.append(
                f"{name}={value} is unknown; choose one of {', '.join(map(str, choices))}."
            )
    problems += package_problems(values.get("plugins") or ())
    return problems + _bad_combinations(values)


def out_of_range(
    values: Mapping[str, Any], ranges: Mapping[str, tuple[float, float, str]]
) -> list[str]:
    """Return one line per number outside its range, each of which is (low, high, hint)."""
    problems = []
    for name, (low, high, hint) in ranges.items():
        value = values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not low <= value <= high:
            upper = "" if high == math.inf else f" and at most {high:g}"
            problems.append(f"{name}={value:g} must be at least {low:g}{upper}; {hint}.")
    return problems


_ONE_COMPLETION = ("num_return_sequences", "return_dict_in_generate", "n", "best_of")
_PROMPT_TEXTS = ("domain", "proposer_system", "proposer_request", "rollout_system")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _bad_texts(values: Mapping[str, Any]) -> list[str]:
    """Return one line per prompt text with a control character: "\\b" of YAML's double quotes."""
    return [
        f"{name} holds the control character {found.group()!r}; between double quotes of YAML a "
        "backslash is written twice, between single quotes once."
        for name in (*_PROMPT_TEXTS, "answer_instruction")
        if isinstance(text := values.get(name), str) and (found := _CONTROL.search(text))
    ]


def _bad_combinations(values: Mapping[str, Any]) -> list[str]:
    problems = _bad_texts(values)
    low, high = values.get("difficulty_low"), values.get("difficulty_high")
    votes = values.get("num_generations")
    if low is not None and high is not None and low >= high:
        problems.append(
            f"difficulty_low={low} must be below difficulty_high={high}; the paper uses 0.2 "
            "and 0.8."
        )
    elif low is not None and high is not None and votes and values.get("use_band", True):
        reachable = [f"{k}/{votes}" for k in range(2, votes + 1)]
        if not any(low - 1e-9 <= k / votes <= high + 1e-9 for k in range(2, votes + 1)):
            problems.append(
                f"difficulty_low={low} and difficulty_high={high} keep no group: with "
                f"num_generations={votes} a majority ratio is one of {', '.join(reachable)}; "
                "widen the band."
            )
    shots, pool_shots = values.get("num_shots"), values.get("num_pool_shots")
    if shots is not None and pool_shots is not None and pool_shots > shots:
        problems.append(f"num_pool_shots={pool_shots} must not exceed num_shots={shots}.")
    fewest, most = values.get("min_words"), values.get("max_words")
    if fewest is not None and most is not None and fewest > most:
        problems.append(f"min_words={fewest} must not exceed max_words={most}.")
    if values.get("advantage") == "reinforce_pp" and values.get(
        "multi_objective_aggregation"
    ) not in (
        None,
        "sum_then_normalize",
    ):
        problems.append("multi_objective_aggregation must be sum_then_normalize with reinforce_pp.")
    most = values.get("max_rollouts")
    if most and votes and most < votes:
        problems.append(
            f"max_rollouts={most} is less than one group of num_generations={votes}; raise it, or "
            "set it to 0 for no bound."
        )
    if values.get("use_selfplay") is False and values.get("label_reward") in ("vote", "random"):
        problems.append(
            f"label_reward={values['label_reward']} needs use_selfplay; set label_reward to gold "
            "or none."
        )
    strategy = values.get("hub_strategy", "end")
    if getattr(strategy, "value", strategy) != "end":
        problems.append(
            f"hub_strategy={getattr(strategy, 'value', strategy)} must be end; checkpoints hold "
            "what is not meant for others. `serl push RUN` pushes at any time."
        )
    kwargs = values.get("generation_kwargs")
    problems += [
        f"generation_kwargs: {name}={kwargs[name]} is refused: a prompt gets one completion at a "
        "time, as bare tokens; num_generations says how many vote. Leave it out."
        for name in _ONE_COMPLETION
        if isinstance(kwargs, Mapping) and kwargs.get(name) not in (None, False, 1)
    ]
    if values.get("use_vllm") and isinstance(kwargs, Mapping) and "seed" in kwargs:
        problems.append(
            f"generation_kwargs={{seed: ...}} with vllm_mode={values.get('vllm_mode')} makes all "
            "completions of a prompt alike, so that no vote can differ; leave the seed out."
        )
    parts = values.get("vllm_tensor_parallel_size")
    colocated = values.get("use_vllm") and values.get("vllm_mode") == "colocate"
    if colocated and isinstance(parts, int) and parts > 1:
        problems.append(
            f"vllm_tensor_parallel_size={parts} with vllm_mode=colocate is refused: the processes "
            "of one engine must draw the same tokens, and training gives each its own random "
            "state; leave it at 1, or use vllm_mode: server."
        )
    if values.get("hub_token"):
        problems.append(
            "hub_token must not stand in a config, which is saved with the run; log in with `hf "
            "auth login` or set HF_TOKEN."
        )
    return problems


def _parsed(value: Any) -> Any:
    """Read the JSON of a mapping; what is none is left to whoever reads it."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _secret_in(value: Any) -> str:
    """Return what is secret in a value, at any depth, without repeating it; or nothing."""
    if isinstance(value, str):
        return "a token, or an address with a password" if secret_in(value) else ""
    if isinstance(value, Mapping):
        named = (f"a secret ({key})" for key, item in value.items() if _is_secret_item(key, item))
        inside = (_secret_in(each) for pair in value.items() for each in pair)
        return next(filter(None, (*inside, *named)), "")
    if isinstance(value, list | tuple | set):
        return next(filter(None, map(_secret_in, value)), "")
    return ""


def _is_secret_item(key: Any, item: Any) -> bool:
    # `token: true` means the login of the machine, and a tokenizer's marks are no secrets.
    return isinstance(item, str) and is_secret(str(key)) and not _MARK.fullmatch(str(key))


_MARK = re.compile("(bos|eos|pad|unk|sep|cls|mask|image|video|audio)_token")

_RANGES: dict[str, tuple[float, float, str]] = {
    "per_device_train_batch_size": (1, math.inf, "it counts rollouts"),
    "gradient_accumulation_steps": (1, math.inf, "1 updates after every pass"),
    "num_generations": (2, 4096, "a vote needs at least two completions; the paper uses 16"),
    "max_completion_length": (1, math.inf, "it counts tokens; the paper uses 1024"),
    "temperature": (1e-3, 10, "a vote needs differing completions; use 0.6 to 1.2"),
    "top_p": (1e-3, 1, "1 keeps every token"),
    "learning_rate": (1e-12, 1, "1e-7 to 1e-5 is usual"),
    "beta": (0, math.inf, "0 switches the KL term off"),
    "epsilon": (1e-6, 1, "the paper uses 0.2"),
    "epsilon_high": (1e-6, 10, "DAPO uses 0.28"),
    "num_iterations": (1, math.inf, "1 trains on a batch once"),
    "save_steps": (1e-9, math.inf, "whole numbers count steps, fractions are of the run"),
    "logging_steps": (1e-9, math.inf, "1 logs every step"),
    "num_requests": (1, 4096, "the paper uses 4"),
    "num_shots": (1, 256, "the paper uses 8"),
    "num_pool_shots": (0, 256, "the paper uses 2"),
    "proposer_temperature": (1e-3, 10, "the paper uses 0.8"),
    "proposer_top_p": (1e-3, 1, "the paper uses 0.95"),
    "proposer_presence_penalty": (-2, 2, "the paper uses 2"),
    "proposer_max_tokens": (8, math.inf, "the paper uses 1024"),
    "min_words": (1, math.inf, "the paper uses 4"),
    "max_words": (1, math.inf, "the paper uses 150"),
    "max_instruction_tokens": (4, math.inf, "512 leaves room for the completion"),
    "max_rouge_l": (1e-6, 1, "the paper uses 0.7"),
    "max_cosine": (1e-6, 1, "0.85 to 0.95 is usual"),
    "contamination_ngram": (4, 1000, "13 is usual"),
    "max_contamination_rouge_l": (1e-6, 1, "1 leaves it to n-grams and copies"),
    "max_per_template": (0, math.inf, "0 sets no cap"),
    "difficulty_low": (0, 1, "it is a majority ratio; the paper uses 0.2"),
    "difficulty_high": (0, 1, "it is a majority ratio; the paper uses 0.8"),
    "max_staleness": (0, 1000, "0 drops kept groups that found no place"),
    "max_refill_rounds": (1, 100_000, "a refill needs at least one round"),
    "max_refill_rollouts": (1, 10_000, "it multiplies the prompts of a batch"),
    "max_refill_s": (1, math.inf, "set it far above the usual refill"),
    "max_empty_refills": (1, 10_000, "the run stops after so many"),
    "max_rollouts": (0, math.inf, "0 sets no bound"),
    "warn_logprob_gap": (0, math.inf, "0 warns always"),
    "max_logprob_gap": (1e-9, math.inf, "engines that are in step stay far below 0.1"),
    "max_nonfinite_steps": (0, 1000, "0 stops at the first"),
    "instructions_per_iteration": (1, math.inf, "the paper uses 2000"),
    "num_selfplay_iterations": (1, 1000, "the paper uses 3"),
    "probe_steps": (0, math.inf, "0 measures nothing during training"),
    "probe_samples": (1, 4096, "4 is enough to watch pass@1"),
    "sample_steps": (0, math.inf, "0 shows none"),
    "show_steps": (0, math.inf, "0 follows logging_steps"),
}

_CHOICES: dict[str, tuple[str | bool, ...]] = {
    "prompt_source": PROMPT_SOURCES,
    "prompt_style": PROMPT_STYLES,
    "label_reward": LABEL_REWARDS,
    "novelty": NOVELTY_RULES,
    "novelty_scope": NOVELTY_SCOPES,
    "on_full_disk": FULL_DISK_RULES,
    "advantage": ADVANTAGES,
    "loss_type": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
    "scale_rewards": ("group", "batch", "none", True, False),
    "vllm_mode": ("colocate", "server"),
    "importance_sampling_level": ("token", "sequence"),
    "vllm_importance_sampling_mode": (
        "token_truncate",
        "token_mask",
        "sequence_truncate",
        "sequence_mask",
    ),
}
