"""The label of a question is the vote of a teacher that the update does not move at once.

An error of the present weights then does not reward itself. Source: Co-rewarding-II, arXiv
2508.00410: r_i = 1[a_i = label], with the label of a teacher whose weights follow those that are
trained: teacher = keep * teacher + (1 - keep) * weights after each step, keep along a cosine.
"""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from serl_trl.answers.equality import answer_of, same_answers
from serl_trl.answers.voting import vote_groups
from serl_trl.common.completion import Completion
from serl_trl.common.verdict import KEEP
from serl_trl.filters.validity.asked import complete_each
from serl_trl.labels.base import (
    AVERAGE,
    TEACHER,
    Labelled,
    Labeller,
    Rollouts,
    Teacher,
    Tools,
    check_range,
)
from serl_trl.labels.vote import hindrance


class TeacherVote(Labeller):
    """Rewards 1 for the majority answer of `votes` completions of the same prompt by a teacher.

    `teacher` is "ema" (an average of the weights, see `Teacher`), "reference" (the weights that
    the run began with) or another model by folder or Hub id. Refuses a group as the vote does
    where the teacher has no majority answer. Agreement is that of the group's own vote.
    """

    needs: frozenset[str] = frozenset({"teacher"})
    meaning: ClassVar[str] = "The label is the majority answer of a teacher; no solution was shown."
    rewarded: ClassVar[str] = "the majority answer of a teacher to each question was the label"

    def __init__(
        self,
        teacher: str = AVERAGE,
        votes: int = 16,
        keep_start: float = Teacher.keep_start,
        keep_end: float = Teacher.keep_end,
    ) -> None:
        check_range(2, 4096, votes=votes)
        check_range(0, 1, keep_start=keep_start, keep_end=keep_end)
        self.votes, self.teacher = int(votes), Teacher(teacher, keep_start, keep_end)

    def extra_rollouts(self, group_size: int) -> int:
        """Return the votes of the teacher."""
        return self.votes

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Have the teacher answer each prompt, and reward what agrees with its vote."""
        ask = partial(tools.complete, model=TEACHER)
        views = complete_each(ask, [group.messages for group in groups], self.votes)
        pairs = list(zip(groups, views, strict=True))
        # In one process: the verifier has a deadline.
        return tools.decide(lambda: [judged_by(*pair, tools) for pair in pairs])


def judged_by(group: Rollouts, votes: Sequence[Completion], tools: Tools) -> Labelled:
    """Judge a group by the vote on other completions; call it in one process.

    The metric `label_reached` is the share of groups in which any completion has the label.
    """
    agreement = group.vote.majority_ratio
    answers = [answer_of(each, kind=tools.kind) for each in votes]
    (vote,) = vote_groups([answers], kind=tools.kind, verifier=tools.verifier)
    verdict = hindrance(vote)
    if not verdict.keep:
        return Labelled((0.0,) * len(group.completions), verdict, agreement)
    own = [answer_of(each, kind=tools.kind) for each in group.completions]
    right = same_answers(
        [(answer, vote.answer) for answer in own], kind=tools.kind, verifier=tools.verifier
    )
    reached = {"label_reached": float(any(right))}
    return Labelled(tuple(map(float, right)), KEEP, agreement, vote.answer, reached)
