"""Does the model give a question up when it may?

Asked anew with leave to answer `none`, a model gives up more of the broken questions than of the
valid ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from serl_trl.answers.equality import known_labels, says
from serl_trl.answers.kinds.text import TextKind
from serl_trl.common.completion import Completion
from serl_trl.filters.validity.asked import Asked, AskingTools, complete_each
from serl_trl.filters.validity.sign import NO_SIGN, Sign
from serl_trl.propose.prompts import NONE, PromptStyle, asked_anew

# Whatever the run's kind: most kinds would read `none` as no answer, or as some other one.
_READER = TextKind()


@dataclass(frozen=True)
class Abstention:
    """The share of `none` in `num` completions of the question that allow it.

    `max_tokens` above 0 cuts them off there, at temperature 1; what was cut off did not give up.
    The answers take no part in the vote, so that `none` is never a label. A run whose answer kind
    has the label `none` gets no sign.
    """

    num: int = 8
    max_tokens: int = 0
    abstain_instruction: str = PromptStyle.abstain_instruction
    name: ClassVar[str] = "abstention"

    @property
    def num_completions(self) -> int:
        """The completions that allow `none`."""
        return self.num

    def judge(self, questions: Sequence[Asked], tools: AskingTools) -> list[Sign]:
        """Return the share of `none` for each question."""
        if NONE in map(str.casefold, known_labels(tools.kind) or ()):
            return [NO_SIGN] * len(questions)
        prompts = [
            asked_anew(each.messages, each.instruction, self.abstain_instruction)
            for each in questions
        ]
        groups = complete_each(tools.complete, prompts, self.num, max_tokens=self.max_tokens)
        return [self._sign(sum(map(gives_up, group))) for group in groups]

    def _sign(self, given_up: int) -> Sign:
        return Sign(given_up / self.num, f"{given_up} of {self.num} none")


def gives_up(completion: Completion) -> bool:
    """Return whether a completion ends in the answer `none`, in any case and layout."""
    return says(completion, NONE, kind=_READER)
