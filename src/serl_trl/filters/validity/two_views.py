"""Do the votes on a question and on its restatement agree? A broken one has nothing to agree on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from serl_trl.answers.equality import extract_answer
from serl_trl.answers.views import ViewsVote, vote_on_views
from serl_trl.answers.voting import Vote
from serl_trl.filters.validity.asked import Asked, AskingTools, check_options, complete_each
from serl_trl.filters.validity.restatement import restate
from serl_trl.filters.validity.sign import NO_SIGN, Sign
from serl_trl.propose.prompts import PromptStyle, with_instruction


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

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def num_completions(self) -> int:
        """The restatements and the votes on one of them."""
        return self.tries + self.num

    def judge(self, questions: Sequence[Asked], tools: AskingTools) -> list[Sign]:
        """Return the disagreement of the views of each question."""
        texts = [each.instruction for each in questions]
        found = restate(
            texts,
            tools.complete,
            text=self.restate_instruction,
            tries=self.tries,
            keep_names=self.keep_names,
        )
        restated = [(each, text) for each, text in zip(questions, found, strict=True) if text]
        prompts = [
            with_instruction(each.messages, each.instruction, text) for each, text in restated
        ]
        votes = [
            [None if c.truncated else extract_answer(c.text, kind=tools.kind) for c in group]
            for group in complete_each(tools.complete, prompts, self.num)
        ]
        pairs = [
            (_answers(each.vote), vote) for (each, _), vote in zip(restated, votes, strict=True)
        ]
        signs = iter(map(_sign, vote_on_views(pairs, kind=tools.kind, verifier=tools.verifier)))
        return [next(signs) if text else NO_SIGN for text in found]


def _answers(vote: Vote) -> list[str | None]:
    counted = [answer for answer, votes in vote.counts for _ in range(votes)]
    return [*counted, *[None] * vote.num_unparsable]


def _sign(views: ViewsVote) -> Sign:
    said = f"{views.answer[:40]} in both" if views.answer else "no answer in both"
    return Sign(1 - views.margin, f"{said}, by {views.margin:.0%}")
