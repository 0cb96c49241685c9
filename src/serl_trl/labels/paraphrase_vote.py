"""The label of a question is the vote on its paraphrase.

An error that hangs on a wording then does not label itself. Source: Co-Reward (Co-rewarding-I),
arXiv 2508.00410: r_i = 1[a_i = label'], 0 without a label'. There both groups train, each on the
other's label, and a larger model writes the paraphrases; here the group of the question trains,
and the model itself writes them.
"""

from collections.abc import Sequence
from typing import ClassVar

from serl_trl.common.completion import Completion
from serl_trl.common.verdict import Verdict
from serl_trl.filters.validity.asked import complete_each
from serl_trl.filters.validity.restatement import restated_prompts
from serl_trl.labels.base import Labelled, Labeller, Rollouts, Tools, check_range
from serl_trl.labels.teacher_vote import judged_by
from serl_trl.propose.prompts import PromptStyle


class ParaphraseVote(Labeller):
    """Rewards 1 for the majority answer of `votes` completions of the question's paraphrase.

    Refuses a group whose paraphrase does not keep every number and name in any of `tries`
    ("no_paraphrase"), and as the vote does where the paraphrase has no majority answer. With
    `keep_names` false other names are allowed. Agreement is that of the group's own vote.
    """

    needs: frozenset[str] = frozenset({"second_view"})
    meaning: ClassVar[str] = "The label is the majority answer to the question in other words."
    rewarded: ClassVar[str] = "the majority answer to each question in other words was the label"

    def __init__(
        self,
        votes: int = 8,
        tries: int = 1,
        keep_names: bool = True,
        restate_instruction: str = PromptStyle.restate_instruction,
    ) -> None:
        check_range(2, 4096, votes=votes)
        check_range(1, 64, tries=tries)
        self.votes, self.tries = votes, tries
        self.keep_names = keep_names
        # The run's own where the trainer makes the labeller: another text may mean nothing to it.
        self.restate_instruction = restate_instruction

    def extra_rollouts(self, group_size: int) -> int:
        """Return the restatements and the votes on one of them."""
        return self.tries + self.votes

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Have each question restated and answered, and reward what agrees with that vote."""
        prompts = restated_prompts(
            [(group.task.instruction, group.messages) for group in groups],
            tools.complete,
            text=self.restate_instruction,
            tries=self.tries,
            keep_names=self.keep_names,
        )
        asked = [each for each in prompts if each]
        views = iter(complete_each(tools.complete, asked, self.votes))
        pairs = [
            (group, next(views) if prompt else None)
            for group, prompt in zip(groups, prompts, strict=True)
        ]
        # In one process: the verifier has a deadline.
        return tools.decide(lambda: [_judged(group, view, tools) for group, view in pairs])


def _judged(group: Rollouts, view: list[Completion] | None, tools: Tools) -> Labelled:
    if view is not None:
        return judged_by(group, view, tools)
    nothing = (0.0,) * len(group.completions)
    return Labelled(nothing, Verdict(False, "no_paraphrase"), group.vote.majority_ratio)
