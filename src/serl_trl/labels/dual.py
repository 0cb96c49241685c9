"""An answer is worth what it lets the model find again: a number hidden in the question.

Source: DuPO, arXiv 2508.14460: one known number of the question is hidden, and r_i is the share of
K tries that regain it from the rest of the question and answer i. The paper trains on which number
the answer determines; here a number is drawn, so a question may hide one that no answer tells.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from serl_trl.answers.equality import answer_of, same_answers
from serl_trl.answers.kinds.number import NumberKind
from serl_trl.common.completion import Completion, Messages
from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.filters.validity.asked import complete_each
from serl_trl.labels.base import Labelled, Labeller, Rollouts, Tools, check_range
from serl_trl.propose.prompts import dual_messages

# Whole numbers and decimals, no part of a word. Each place begins at most one match.
_NUMBER = re.compile(r"(?<![\w.,])[0-9]+(?:[.,][0-9]+)*(?!\w)")
# Whatever the run's kind: a number is looked for.
_READER = NumberKind()


@dataclass(frozen=True)
class Hidden:
    """A question with a number hidden, and that number; `None` where it has no number."""

    question: str
    number: str | None


class Dual(Labeller):
    """Rewards each completion with the share of `tries` that regain a hidden number by its answer.

    Each different answer of a group is tried, so equal ones are worth the same; one without answer
    is worth 0. Refuses a group whose question holds no number ("no_number") and one whose rewards
    are all equal ("no_signal"). There is no label; agreement is that of the vote.
    """

    needs: frozenset[str] = frozenset({"second_view"})
    meaning: ClassVar[str] = (
        "There is no label; an answer is rewarded if it tells a number hidden in the question."
    )
    rewarded: ClassVar[str] = (
        "an answer was rewarded where it let the model regain a number of the question"
    )
    truth: ClassVar[str] = meaning

    def __init__(self, tries: int = 4) -> None:
        check_range(1, 64, tries=tries)
        self.tries = int(tries)

    def extra_rollouts(self, group_size: int) -> int:
        """Return the tries of a group whose answers all differ."""
        return self.tries * group_size

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Have all hidden numbers looked for in one call, and judge each group."""
        hidden = [hide_number(group.task.instruction, tools.rng) for group in groups]
        prompts: list[list[Messages]] = [
            [dual_messages(each.question, answer) for answer, _ in group.vote.counts]
            if each.number
            else []
            for group, each in zip(groups, hidden, strict=True)
        ]
        flat = [prompt for each in prompts for prompt in each]
        found = iter(complete_each(tools.complete, flat, self.tries))
        tried = [[next(found) for _ in each] for each in prompts]
        # In one process: the verifier has a deadline.
        rows = list(zip(groups, hidden, tried, strict=True))
        return tools.decide(lambda: [_judged(*row, tools) for row in rows])


def hide_number(question: str, rng: random.Random) -> Hidden:
    """Return a question with one of its numbers, drawn by `rng`, written as X."""
    numbers = list(_NUMBER.finditer(question))
    if not numbers:
        return Hidden(question, None)
    drawn = rng.choice(numbers)
    return Hidden(f"{question[: drawn.start()]}X{question[drawn.end() :]}", drawn.group())


def _judged(
    group: Rollouts, hidden: Hidden, tried: Sequence[Sequence[Completion]], tools: Tools
) -> Labelled:
    shares = [_share(replies, hidden, tools) for replies in tried]
    classes = group.vote.classes
    rewards = tuple(0.0 if own is None or not shares else shares[own] for own in classes)
    verdict = KEEP if len(set(rewards)) > 1 else Verdict(False, "no_signal")
    if hidden.number is None:
        verdict = Verdict(False, "no_number")
    regained = {"regained_ratio": sum(rewards) / len(rewards)}
    return Labelled(rewards, verdict, group.vote.majority_ratio, metrics=regained)


def _share(replies: Sequence[Completion], hidden: Hidden, tools: Tools) -> float:
    pairs = [(answer_of(each, kind=_READER), hidden.number) for each in replies]
    return sum(same_answers(pairs, kind=_READER, verifier=tools.verifier)) / len(pairs)
