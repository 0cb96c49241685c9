"""The reward functions that TRL's scripts know by name, for `reward_funcs`."""

import functools
from collections.abc import Callable, Mapping
from typing import Any


def trl_rewards() -> Mapping[str, Callable[..., Any]]:
    """Return TRL's functions by their names, with the lengths that TRL's script gives the last."""
    from trl import rewards

    punish = rewards.get_soft_overlong_punishment(max_completion_len=1280, soft_punish_cache=256)
    return {
        "accuracy_reward": _with_solutions(rewards.accuracy_reward),
        "reasoning_accuracy_reward": _with_solutions(rewards.reasoning_accuracy_reward),
        "think_format_reward": rewards.think_format_reward,
        "get_soft_overlong_punishment": punish,
    }


def _with_solutions(reward: Callable[..., Any]) -> Callable[..., Any]:
    """Give `reward` the gold answers of this package's rows under the name that TRL's have.

    A completion without one gets no reward from it: TRL counts None as not applicable.
    """

    @functools.wraps(reward)
    def with_solutions(completions: list[Any], **kwargs: Any) -> list[float | None]:
        # A data set of TRL's own scripts may bring the column under its own name.
        golds = kwargs.pop("solution", None) or kwargs.get("gold_answer")
        golds = golds or [None] * len(completions)
        return reward(completions, solution=[str(gold or "") for gold in golds], **kwargs)

    return with_solutions
