"""Do the votes on a question and on its restatement agree? A broken one has nothing to agree on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from serl_trl.answers.equality import answer_of
from serl_trl.answers.views import ViewsVote, vote_on_views
from serl_trl.answers.voting import spelt_out
from serl_trl.filters.validity.asked import Asked, AskingTools, complete_each
from serl_trl.filters.validity.restatement import restated_prompts
from serl_trl.filters.validity.sign import NO_SIGN, Sign
from serl_trl.propose.prompts import PromptStyle


@dataclass(frozen=True)
class TwoViews:
    """How far the best answer of two views falls short of all votes in both.

    The model restates the question, up to `tries` times in one call, and answers the first
    restatement that keeps its sense `num` times. The score is 1 minus the lead of the best harmonic
    share over the next (`answers/views.py`). Without a restatement there is no sign, and no further
    cost. `keep_names` false allows other names: very small models put them anew.
    """

    num: int = 8
    tries: int = 1
    keep_names: bool = True
    restate_instruction: str = PromptStyle.restate_instruction
    name: ClassVar[str] = "two_views"

    @property
    def num_completions(self) -> int:
        """The restatements and the votes on one of them."""
        return self.tries + self.num

    def judge(self, questions: Sequence[Asked], tools: AskingTools) -> list[Sign]:
        """Return the disagreement of the views of each question."""
        prompts = restated_prompts(
            [(each.instruction, each.messages) for each in questions],
            tools.complete,
            text=self.restate_instruction,
            tries=self.tries,
            keep_names=self.keep_names,
        )
        groups = complete_each(tools.complete, [each for each in prompts if each], self.num)
        restated = [each for each, prompt in zip(questions, prompts, strict=True) if prompt]
        pairs = [
            (
                spelt_out(each.vote.counts, each.vote.num_unparsable),
                [answer_of(c, kind=tools.kind) for c in group],
            )
            for each, group in zip(restated, groups, strict=True)
        ]
        signs = iter(map(_sign, vote_on_views(pairs, kind=tools.kind, verifier=tools.verifier)))
        return [next(signs) if prompt else NO_SIGN for prompt in prompts]


def _sign(views: ViewsVote) -> Sign:
    said = f"{views.answer[:40]} in both" if views.answer else "no answer in both"
    return Sign(1 - views.margin, f"{said}, by {views.margin:.0%}")
