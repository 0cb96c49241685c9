"""Groups that go by their own gold answer, and groups that weigh more or less than others.

A source says so of its tasks (`Task.by_gold`, `Task.weight`). Source: R-Few, arXiv 2512.02472.
"""

from collections.abc import Sequence
from dataclasses import replace

from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.labels.base import Labelled, Rollouts, Tools, Wrapper


class ByGold(Wrapper):
    """A labeller, band and gate included, that judges only the groups which do not go by gold.

    Such a group gets 1 for a right completion, else 0. It is kept where some are right and some
    wrong, whatever its agreement: the band and the gate ask whether a vote can be trusted, and no
    vote rewards it. All right or all wrong gives every completion the advantage 0 ("no_signal").
    `weight` of a task multiplies the advantages of its group.
    """

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Judge each group by its gold answer, or by the labeller."""
        voted = [group for group in groups if not group.task.by_gold]
        # One that asks the model has nothing to ask about.
        judged = list(self.labeller.label(voted, tools)) if voted else []
        if len(judged) != len(voted):
            # Whoever called this says that there are too few, or too many.
            return judged
        rest = iter(judged)
        return [
            _weighed(_by_gold(group) if group.task.by_gold else next(rest), group.task.weight)
            for group in groups
        ]


def _by_gold(group: Rollouts) -> Labelled:
    gold = group.task.gold
    rewards = tuple(float(right) for right in group.right)
    reason = "no_gold" if gold is None else "" if len(set(rewards)) > 1 else "no_signal"
    verdict = Verdict(False, reason) if reason else KEEP
    return Labelled(rewards, verdict, group.vote.majority_ratio, gold)


def _weighed(labelled: Labelled, weight: float) -> Labelled:
    if weight == 1.0:
        return labelled
    each = labelled.weights or (1.0,) * len(labelled.rewards)
    return replace(labelled, weights=tuple(weight * factor for factor in each))
