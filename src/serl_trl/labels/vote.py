"""The majority vote as the label. Source: TTRL, arXiv 2504.16084, and SeRL, arXiv 2505.20347."""

from collections.abc import Sequence
from typing import ClassVar

from serl_trl.answers.voting import MIN_VOTES, Vote
from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.labels.base import Labelled, Labeller, Rollouts, Tools


class MajorityVote(Labeller):
    """Rewards 1 for the members of the majority answer, else 0.

    Refuses a group without a majority answer, by what is in its way: "unparsable" (no completion
    has an answer), "tie" or "no_majority" (fewer than two votes).
    """

    meaning: ClassVar[str] = (
        "The label is the answer that most completions agree on; no solution was shown."
    )
    rewarded: ClassVar[str] = (
        "its majority answer was the label, so it was rewarded for agreeing with itself"
    )

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Judge each group by its vote."""
        return [self._label(group) for group in groups]

    def _label(self, group: Rollouts) -> Labelled:
        vote = group.vote
        return Labelled(tuple(vote.rewards), hindrance(vote), vote.majority_ratio, vote.answer)


def hindrance(vote: Vote, *, ties: bool = False) -> Verdict:
    """Keep a group with a majority answer, or name what is in its way; `ties` keeps tied groups."""
    if vote.answer is not None or (ties and vote.counts and vote.counts[0][1] >= MIN_VOTES):
        return KEEP
    # What stands in the way first is named: without answers there can be no tie.
    unread = vote.num_unparsable == len(vote.classes)
    several = vote.tied and not ties
    return Verdict(False, "unparsable" if unread else "tie" if several else "no_majority")
