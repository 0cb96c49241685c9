"""The vote, where the model confirms its winner when it is asked to check it.

Source: CoVerRL, arXiv 2603.17775, whose verifier is trained as well; here it is the present model
as it is. Of a small model expect little: the untrained verifier was right in 55 % of cases there.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from serl_trl.answers.equality import says
from serl_trl.answers.kinds.label import LabelKind
from serl_trl.common.completion import Completion, Messages
from serl_trl.common.verdict import Verdict
from serl_trl.labels.base import Labelled, Rollouts, Tools, check_range
from serl_trl.labels.vote import MajorityVote
from serl_trl.propose.prompts import CHECK_INSTRUCTION, check_messages

# Whatever the run's kind; a check without a verdict confirms nothing.
_READER = LabelKind(labels=["yes", "no"], lenient=True)


class VerifiedVote(MajorityVote):
    """Rewards as the vote does, and keeps a group only if more than half of `checks` confirm it.

    Each check shows the question and a completion of the majority, in turn. A group that is not
    confirmed is refused ("unverified"); one without a majority answer costs no check.
    """

    needs: frozenset[str] = frozenset({"second_view"})
    meaning: ClassVar[str] = (
        "The label is the answer that most completions agree on, where the model confirms it."
    )
    rewarded: ClassVar[str] = (
        "its majority answer was the label where it confirmed that answer itself"
    )

    def __init__(self, checks: int = 8) -> None:
        check_range(1, 64, checks=checks)
        self.checks = checks

    def extra_rollouts(self, group_size: int) -> int:
        """Return the checks of a group with a majority answer."""
        return self.checks

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Have the winners checked in one call, and judge each group."""
        found = super().label(groups, tools)
        voted = [place for place, each in enumerate(found) if each.verdict.keep]
        replies = iter(
            tools.complete([check for place in voted for check in self._prompts(groups[place])])
            if voted
            else ()
        )
        for place in voted:
            confirmed = sum(confirms(next(replies)) for _ in range(self.checks)) / self.checks
            verdict = found[place].verdict if confirmed > 0.5 else Verdict(False, "unverified")
            numbers = {"confirmed_ratio": confirmed}
            found[place] = replace(found[place], verdict=verdict, metrics=numbers)
        return found

    def _prompts(self, group: Rollouts) -> list[Messages]:
        pairs = zip(group.completions, group.vote.rewards, strict=True)
        winners = [completion.text for completion, reward in pairs if reward]
        return [
            check_messages(group.task.instruction, winners[n % len(winners)], CHECK_INSTRUCTION)
            for n in range(self.checks)
        ]


def confirms(reply: Completion) -> bool:
    """Return whether a check ends in yes; what was cut off or says neither does not."""
    return says(reply, "yes", kind=_READER)
