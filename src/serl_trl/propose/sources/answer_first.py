"""New problems written backwards: a solution with its answer first, then what it solves.

Who begins with the answer writes fewer problems without one. The label that a problem inherits
this way may be wrong; `labels/inherited.py` says what becomes of its group. Source of inherited
labels that the vote must reach: SvS, arXiv 2508.14029.
"""

import random
from dataclasses import dataclass, field

from serl_trl.answers.base import AnswerKind
from serl_trl.answers.equality import get_kind
from serl_trl.common.completion import Complete, Messages
from serl_trl.propose.parsing.answer_first import parse_answer_first
from serl_trl.propose.pool import InstructionPool, Shots
from serl_trl.propose.prompts import answer_first_messages
from serl_trl.propose.sources.base import Task
from serl_trl.propose.sources.few_shot import FewShot


@dataclass
class AnswerFirst(FewShot):
    """Shows problems as `FewShot` does, and asks for one solution and the problem it solves.

    A request gives one task at most, so a round makes as many as tasks are wanted, and
    `num_requests` at least. The task inherits the answer that `kind` finds in the solution. A
    request shows `shots` examples, and no more than `num_shots`.
    """

    kind: AnswerKind = field(default_factory=lambda: get_kind("math"))
    # Half of the usual: each request pays for its examples, and gives one problem.
    shots: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        self.num_shots = min(self.shots, self.num_shots)

    def propose(
        self, num: int, *, pool: InstructionPool, complete: Complete, rng: random.Random
    ) -> list[Task]:
        """Ask the policy, and return each problem that stands behind an answer."""
        requests = [self.request(pool, rng) for _ in range(max(num, self.num_requests))]
        completions = complete([request.messages for request in requests])
        asking = not self.style.task_template
        tasks, unread = [], []
        for request, each in zip(requests, completions, strict=True):
            found = parse_answer_first(
                each.text, kind=self.kind, truncated=each.truncated, asking=asking
            )
            if found is None:
                unread.append(each.text)
            else:
                origins = request.shots.origins
                tasks.append(Task(found.problem, parents=origins, inherited=found.answer))
        self.unread = tuple(unread)
        return tasks

    def _messages(self, shots: Shots) -> Messages:
        return answer_first_messages(shots.texts, self.style)
