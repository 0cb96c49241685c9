"""Can the model say a question in other words? What it mends or leaves out was odd to it.

On the hard sandbox most restatements of a broken question change its numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from serl_trl.filters.validity.asked import Asked, AskingTools, complete_each
from serl_trl.filters.validity.restatement import read_restatement
from serl_trl.filters.validity.sign import Sign
from serl_trl.propose.prompts import PromptStyle, restate_messages


@dataclass(frozen=True)
class Restatable:
    """The share of `num` restatements that do not keep the question's sense.

    `keep_names` false leaves names unread, for models that put them anew.
    """

    num: int = 4
    keep_names: bool = True
    restate_instruction: str = PromptStyle.restate_instruction
    name: ClassVar[str] = "restatable"

    @property
    def num_completions(self) -> int:
        """The restatements."""
        return self.num

    def judge(self, questions: Sequence[Asked], tools: AskingTools) -> list[Sign]:
        """Return the share of lost restatements for each question."""
        prompts = [restate_messages(q.instruction, self.restate_instruction) for q in questions]
        groups = complete_each(tools.complete, prompts, self.num)
        lost = [
            sum(read_restatement(q.instruction, each, self.keep_names) is None for each in group)
            for q, group in zip(questions, groups, strict=True)
        ]
        return [Sign(num / self.num, f"{num} of {self.num} restatements fail") for num in lost]
