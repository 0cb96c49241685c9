"""What does a frozen model say of a question's conditions?

Asked in stages, after MathQ-Verify, arXiv 2505.13903: whether each condition is possible, whether
they agree, whether anything is missing. Off unless it is named: below 3B parameters no gain was
shown, and on both sandboxes it finds nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from serl_trl.answers.equality import says
from serl_trl.answers.kinds.label import LabelKind
from serl_trl.common.completion import REFERENCE
from serl_trl.filters.validity.asked import Asked, AskingTools, complete_each
from serl_trl.filters.validity.sign import NO_SIGN, Sign
from serl_trl.propose.prompts import JUDGE_QUESTIONS, judge_messages

_READER = LabelKind(labels="yes_no")


@dataclass(frozen=True)
class SelfJudge:
    """The largest share of no among `num` answers to each of three questions about a question.

    A question that more than half call broken is not asked about further. An answer that is
    neither yes nor no, or is cut off, finds nothing. `by` names another model, by folder or Hub
    id, of which the run then asks all its signals.
    """

    num: int = 3
    by: str = REFERENCE
    name: ClassVar[str] = "self_judge"

    @property
    def num_completions(self) -> int:
        """The answers to all three questions."""
        return self.num * len(JUDGE_QUESTIONS)

    def judge(self, questions: Sequence[Asked], tools: AskingTools) -> list[Sign]:
        """Return the worst stage of each question."""
        signs = [NO_SIGN] * len(questions)
        for stage in JUDGE_QUESTIONS:
            places = [place for place, sign in enumerate(signs) if sign.score <= 0.5]
            prompts = [judge_messages(questions[place].instruction, stage) for place in places]
            groups = complete_each(tools.complete, prompts, self.num)
            for place, group in zip(places, groups, strict=True):
                share = sum(says(each, "no", kind=_READER) for each in group) / self.num
                if share > signs[place].score or not signs[place].found:
                    signs[place] = Sign(share, f"{share:.0%} no: {stage}")
        return signs
