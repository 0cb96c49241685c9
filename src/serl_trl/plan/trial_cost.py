"""The time of a step, from what a trial has measured on this machine."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from serl_trl.measure.sentinel import completions_per_step
from serl_trl.measure.trial import Cost, Trial
from serl_trl.plan.asked import asked_per_question
from serl_trl.plan.estimate import TEMPLATE_TOKENS, Layout, estimate_step
from serl_trl.propose.sources.registry import writes_new


def measured_cost(values: Mapping[str, Any], layout: Layout, trial: Trial) -> Cost | None:
    """Return what a step takes with the options `values`; `None` where no group is kept.

    Lengths and speeds are those of the trial, for what signals of `validity` ask too. The update is
    estimated: a backward pass computes twice what the forward pass does that was timed.
    """
    speed, kept = trial.speed, trial.votes.kept_ratio
    if not kept:
        return None
    lengths = {
        "max_completion_length": speed.completion_length,
        "max_instruction_tokens": speed.prompt_length - TEMPLATE_TOKENS,
        # Measured in seconds below, not in tokens.
        "proposer_max_tokens": 0,
    }
    step = estimate_step({**values, **lengths}, layout, kept_ratio=kept)
    # Checkpointing repeats the forward pass, and the reference makes one of its own.
    passes = 3 + bool(values["gradient_checkpointing"]) + bool(values["beta"])
    asked = asked_per_question(values) * step.prompts / values["num_iterations"]
    cost = Cost(
        num_steps=values["max_steps"],
        proposing_s=0.0,
        asking_s=asked * speed.completion_length / speed.tokens_per_s,
        watching_s=completions_per_step(values) * speed.completion_length / speed.tokens_per_s,
        sampling_s=step.sampled_tokens / speed.tokens_per_s,
        updating_s=passes * step.trained_tokens * speed.scoring_s / max(1, speed.scored_tokens),
    )
    if trial.proposals is None:
        return replace(cost, proposing_s=None) if writes_new(values["sources"]) else cost
    if not trial.proposals.num_kept:
        return None
    each = speed.proposing_s / trial.proposals.num_kept
    return replace(cost, proposing_s=each * step.prompts / kept / values["num_iterations"])
