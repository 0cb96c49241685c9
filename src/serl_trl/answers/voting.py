"""A group of answers becomes its majority answer and the rewards that follow from it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from serl_trl.answers.equality import AnswerKind, group_many
from serl_trl.answers.verifier import Verifier

# One vote is no majority: every answer that nobody shares would be right.
MIN_VOTES = 2


@dataclass(frozen=True)
class Vote:
    """The outcome of one group's vote.

    `majority_ratio` is the share of the largest class in all G completions, also when there is no
    majority answer. `counts` lists (answer, votes), largest class first, each in its commonest
    spelling. `margin` is the lead of the largest class over the next one, as a share of G. `tied`
    says that a tie for first place remains. `classes` has the class of each answer.
    """

    answer: str | None
    majority_ratio: float
    rewards: list[float]
    num_classes: int
    num_unparsable: int
    counts: tuple[tuple[str, int], ...]
    runner_up: str | None
    margin: float
    tied: bool
    classes: list[int | None]

    @property
    def shares(self) -> list[float]:
        """The share of each answer's class in all G completions; 0.0 where there is no answer."""
        size = max(len(self.classes), 1)
        # Classes are numbered in the order of `counts`, unless log-probs have broken a tie: then
        # the classes that change places are of one size.
        return [0.0 if own is None else self.counts[own][1] / size for own in self.classes]


def majority_vote(
    answers: Sequence[str | None],
    *,
    kind: str | AnswerKind = "math",
    log_probs: Sequence[float] | None = None,
    verifier: Verifier | None = None,
) -> Vote:
    """Vote on the answers of one group; `None` is a completion without a vote.

    A majority answer needs at least 2 votes. A tie for first place has no majority answer, and all
    rewards are 0.0. With `log_probs` (mean token log-probability of each completion), the tied
    class with the highest mean wins.
    """
    given = None if log_probs is None else [log_probs]
    return vote_groups([answers], kind=kind, log_probs=given, verifier=verifier)[0]


def spelt_out(counts: Iterable[tuple[str, int]], num_unparsable: int) -> list[str | None]:
    """Return answers with these `counts`, which vote as those did that were counted."""
    return [*(answer for answer, votes in counts for _ in range(votes)), *[None] * num_unparsable]


def vote_groups(
    groups: Sequence[Sequence[str | None]],
    *,
    kind: str | AnswerKind = "math",
    log_probs: Sequence[Sequence[float]] | None = None,
    verifier: Verifier | None = None,
) -> list[Vote]:
    """Vote on many groups at once: one batch for the verifier instead of one a group."""
    classes = group_many(groups, kind=kind, verifier=verifier)
    given = [None] * len(groups) if log_probs is None else log_probs
    return [_count(*group) for group in zip(groups, classes, given, strict=True)]


def _count(
    answers: Sequence[str | None],
    classes: Sequence[int | None],
    log_probs: Sequence[float] | None,
) -> Vote:
    members: dict[int, list[int]] = {}
    for position, index in enumerate(classes):
        if index is not None:
            members.setdefault(index, []).append(position)
    ranked = sorted(members)  # classes are numbered by size
    first = [index for index in ranked if len(members[index]) == len(members[ranked[0]])]
    if len(first) > 1 and log_probs is not None:
        first = _likeliest(first, members, answers, log_probs)
        ranked = first + [index for index in ranked if index not in first]
    counts = tuple(
        (spelling([answers[p] or "" for p in members[index]]), len(members[index]))
        for index in ranked
    )
    # Zeros stand for a missing first or second class.
    votes = [len(members[index]) for index in ranked] + [0, 0]
    tied = len(first) > 1
    won = votes[0] >= MIN_VOTES and not tied
    group_size = max(len(answers), 1)
    return Vote(
        answer=counts[0][0] if won else None,
        majority_ratio=votes[0] / group_size,
        rewards=[float(won and index == ranked[0]) for index in classes],
        num_classes=len(counts),
        num_unparsable=sum(index is None for index in classes),
        counts=counts,
        runner_up=counts[1][0] if len(counts) > 1 else None,
        margin=(votes[0] - votes[1]) / group_size,
        tied=tied,
        classes=list(classes),
    )


def _likeliest(
    tied: Sequence[int],
    members: dict[int, list[int]],
    answers: Sequence[str | None],
    log_probs: Sequence[float],
) -> list[int]:
    """Those of the tied classes whose completions have the highest mean log-probability."""
    if len(log_probs) != len(answers):
        raise ValueError(f"{len(log_probs)} log_probs do not fit {len(answers)} answers.")
    # fsum: the order of completions must not show in the last bit.
    means = {i: math.fsum(log_probs[p] for p in members[i]) / len(members[i]) for i in tied}
    return [index for index in tied if means[index] == max(means.values())]


def spelling(answers: Sequence[str]) -> str:
    """The commonest spelling in a class; of equally common ones the shortest, then the first."""
    return min(set(answers), key=lambda text: (-answers.count(text), len(text), text))
