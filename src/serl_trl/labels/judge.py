"""The model's own mark for each of its completions, from 0 to 1.

Sources: SIRLC (arXiv 2305.14483), Self-Rewarding Language Models (arXiv 2401.10020) and SSR-Zero
(arXiv 2505.16637). The judge is the present model, as in SSR-Zero, or a teacher: "reference" is
SIRLC's frozen judge, which is exploited later in a run.
"""

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

from serl_trl.answers.equality import answer_of
from serl_trl.answers.kinds.number import NumberKind
from serl_trl.common.completion import Completion
from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.labels.base import (
    POLICY,
    TEACHER,
    Labelled,
    Labeller,
    Rollouts,
    Teacher,
    Tools,
    check_range,
)
from serl_trl.propose.prompts import JUDGE_INSTRUCTION, check_messages

# Whatever the run's kind: a mark is a number.
_READER = NumberKind()


class Judge(Labeller):
    """Rewards each completion with its mark of 0 to `scale`, divided by `scale`.

    A mark that cannot be read or lies outside is 0, and so is that of a completion without an
    answer, for which none is asked. A group whose marks are all equal is refused ("no_signal").
    There is no label; agreement is that of the vote. `teacher` is "policy" (the present model), or
    whom `teacher_vote` knows.
    """

    needs: frozenset[str] = frozenset({"second_view"})
    meaning: ClassVar[str] = "There is no label; the model marks its own solutions."
    rewarded: ClassVar[str] = "it was rewarded by the marks that it gave itself"
    truth: ClassVar[str] = meaning

    def __init__(self, scale: int = 10, teacher: str = POLICY) -> None:
        check_range(1, 1000, scale=scale)
        self.scale, self.teacher = scale, Teacher(teacher)
        self.asked = POLICY if teacher == POLICY else TEACHER
        if self.asked == TEACHER:
            self.needs = frozenset({"teacher"})

    def extra_rollouts(self, group_size: int) -> int:
        """Return the marks of a group whose completions all have an answer."""
        return group_size

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Have all completions with an answer marked in one call."""
        text = JUDGE_INSTRUCTION.replace("{scale}", str(self.scale))
        prompts = [
            check_messages(group.task.instruction, completion.text, text)
            for group in groups
            for completion, own in zip(group.completions, group.vote.classes, strict=True)
            if own is not None
        ]
        replies = tools.complete(prompts, model=self.asked) if prompts else ()
        marks = iter(map(self.mark, replies))
        return [self._label(group, marks) for group in groups]

    def _label(self, group: Rollouts, marks: Iterator[float | None]) -> Labelled:
        found = [None if own is None else next(marks) for own in group.vote.classes]
        read = [mark for mark in found if mark is not None]
        rewards = tuple(mark or 0.0 for mark in found)
        verdict = KEEP if len(set(rewards)) > 1 else Verdict(False, "no_signal")
        numbers = {"marked_ratio": len(read) / len(found)}
        return Labelled(rewards, verdict, group.vote.majority_ratio, metrics=numbers)

    def mark(self, reply: Completion) -> float | None:
        """Return the mark in a reply as a share of the scale; `None` where none can be read."""
        said = answer_of(reply, kind=_READER)
        try:
            mark = float(said or "nan") / self.scale
        except ValueError:
            return None
        return mark if math.isfinite(mark) and 0 <= mark <= 1 else None
