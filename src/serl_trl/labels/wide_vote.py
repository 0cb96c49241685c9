"""Many votes for the label, few completions for the update. Source: TTRL, arXiv 2504.16084."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from serl_trl.common.completion import Completion
from serl_trl.filters.validity.asked import complete_each
from serl_trl.labels.ballots import count_ballots
from serl_trl.labels.base import Labelled, Rollouts, Tools, check_range
from serl_trl.labels.vote import MajorityVote


class WideVote(MajorityVote):
    """Rewards by the vote of `votes` completions, of which the group's own are the first.

    The others only vote; they count as rollouts of the run. Agreement, label and refusals are those
    of the wide vote.
    """

    needs: frozenset[str] = frozenset({"second_view"})
    meaning: ClassVar[str] = (
        "The label is the answer that most completions agree on, among more than are trained on."
    )
    rewarded: ClassVar[str] = (
        "the majority answer of more completions than were trained on was the label"
    )

    def __init__(self, votes: int = 32) -> None:
        check_range(2, 4096, votes=votes)
        self.votes = int(votes)

    def extra_rollouts(self, group_size: int) -> int:
        """Return how many votes are missing in the group."""
        return max(0, self.votes - group_size)

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Complete each prompt as often as votes are missing, and judge by all of them."""
        sizes = [len(group.completions) for group in groups]
        # Groups of a run are of one size.
        missing = self.extra_rollouts(max(sizes, default=0))
        more: list[list[Completion]] = [[] for _ in groups]
        if missing:
            more = complete_each(tools.complete, [group.messages for group in groups], missing)
        wide = [[*group.completions, *each] for group, each in zip(groups, more, strict=True)]
        golds = [group.task.gold for group in groups]
        # In one process: the verifier has a deadline.
        ballots = tools.decide(
            lambda: count_ballots(wide, golds, kind=tools.kind, verifier=tools.verifier)
        )
        found = [
            self._label(replace(group, completions=tuple(all_), vote=ballot.vote))
            for group, all_, ballot in zip(groups, wide, ballots, strict=True)
        ]
        return [
            replace(each, rewards=each.rewards[:size])
            for each, size in zip(found, sizes, strict=True)
        ]
