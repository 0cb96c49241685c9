"""What is sampled beside the votes of a group, and what pilot votes leave out."""

from collections.abc import Mapping
from typing import Any

from serl_trl.labels.chance import ends_of
from serl_trl.labels.gated import gate_of
from serl_trl.labels.pilot import fits_pilot, landing
from serl_trl.labels.registry import extra_rollouts, known_needs

# Of the groups that the band refuses, the share that 5 to 8 votes of 16 cannot tell from others:
# .36 to .50 on finished runs of the sandboxes (`benchmarks/pilot.py`).
_STILL_OPEN = 0.4


def asked_per_question(values: Mapping[str, Any]) -> int:
    """Return the most completions that signals of `validity` ask about a question that is kept.

    0 where the gate steps aside. Plug-ins are not asked.
    """
    return gate_of(values).num_completions


def sampled_per_trained(values: Mapping[str, Any], *, kept_ratio: float) -> float:
    """Return how many completions are sampled for each one trained on.

    Those are the votes of all groups, of which the band keeps `kept_ratio`, and what a labeller
    asks for beside them.
    """
    kept = kept_ratio if values["use_selfplay"] and values["use_band"] else 1.0
    asked = extra_rollouts(values["label_reward"], values["num_generations"])
    share = _piloted_share(values, kept) if kept < 1 else 1.0
    return (share + asked / values["num_generations"]) / kept


def _piloted_share(values: Mapping[str, Any], kept_ratio: float) -> float:
    """Return what share of all votes is sampled; of the groups not kept some are finished, too."""
    votes, size = values["pilot_votes"], values["num_generations"]
    if not votes or not fits_pilot(known_needs(values["label_reward"])):
        return 1.0
    ends = ends_of(values)
    # Which outcome ends most groups: all agree.
    agreed = landing(votes, votes=votes, size=size, low=ends.low, high=ends.high)
    if agreed.inside > values["pilot_chance"]:
        return 1.0
    first = votes / size
    return first + (1 - first) * (kept_ratio + (1 - kept_ratio) * _STILL_OPEN)
