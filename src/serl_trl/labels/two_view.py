"""The label of two views: half of the votes on the question, half on it in other words.

With p0 and p1 the shares of an answer in the two halves, the label is argmax 2 p0 p1 / (p0 + p1):
an answer that comes of a wording has a large share in one half alone. Source: SelfHarmony, arXiv
2511.01191, with 16 completions for each view; a group split in two costs no more rollouts than the
vote, but one restatement, and the split is our own.
"""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from serl_trl.answers.views import ViewsVote, count_views
from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.labels.base import Labelled, Restating, Rollouts, Tools, check_range
from serl_trl.labels.vote import MajorityVote, hindrance


class TwoView(MajorityVote):
    """Rewards 1 for the answer with the highest harmonic share of two views, else 0.

    Both views train, and `agreement` is the label's share of all completions. Refuses a group
    where no answer is in both views ("views_differ") or two share the first place ("tie"). A group
    whose question none of `tries` restates is judged by its vote. A restatement keeps every number
    and name; `keep_names` false allows other names. Metrics: `restated`, the share of groups with
    two views; `view_agreement`, those of them whose views have the same majority answer;
    `view_margin`, the lead of the label's harmonic share over the next one's, in [0, 1].
    """

    needs: frozenset[str] = frozenset({"restatement"})
    meaning: ClassVar[str] = (
        "The label is the answer that completions of the question and of its restatement share "
        "most; no solution was shown."
    )
    rewarded: ClassVar[str] = (
        "the answer that two wordings of a question shared was the label, so it was rewarded for "
        "agreeing with itself"
    )

    def __init__(self, tries: int = 1, keep_names: bool = True) -> None:
        check_range(1, 64, tries=tries)
        self.restating = Restating(int(tries), bool(keep_names))

    def extra_rollouts(self, group_size: int) -> int:
        """Return the restatements."""
        return self.restating.tries

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Judge each group by its two views, or by its vote where it has one."""
        votes = super().label(groups, tools)
        return [
            Labelled(vote.rewards, vote.verdict, vote.agreement, vote.label, {"restated": 0.0})
            if group.view is None
            else _judged(group)
            for group, vote in zip(groups, votes, strict=True)
        ]


def _judged(group: Rollouts) -> Labelled:
    vote, cut = group.vote, group.cut
    answers = [None if index is None else vote.counts[index][0] for index in vote.classes]
    views = count_views(answers, vote.classes, cut)
    rewards = tuple(float(views.winner is not None and c == views.winner) for c in vote.classes)
    tops = [_top(vote.classes[:cut]), _top(vote.classes[cut:])]
    metrics = {
        "restated": 1.0,
        "view_agreement": float(tops[0] is not None and tops[0] == tops[1]),
        "view_margin": views.margin,
    }
    agreement = sum(rewards) / len(rewards)
    return Labelled(rewards, _verdict(group, views), agreement, views.answer, metrics)


def _verdict(group: Rollouts, views: ViewsVote) -> Verdict:
    if views.winner is not None:
        return KEEP
    # Without any answer the views cannot differ.
    found = hindrance(group.vote)
    if found.reason == "unparsable":
        return found
    return Verdict(False, "tie" if views.share else "views_differ")


def _top(classes: Sequence[int | None]) -> int | None:
    """Return the class with most votes; `None` where two have as many, or there is no vote."""
    ranked = Counter(index for index in classes if index is not None).most_common(2)
    return None if not ranked or [n for _, n in ranked[1:]] == [ranked[0][1]] else ranked[0][0]
