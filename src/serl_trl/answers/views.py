"""Two votes on one question, on its own wording and on another: the share that both give an answer.

Source: SelfHarmony, arXiv 2511.01191; the split of one group over both wordings is our own.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from serl_trl.answers.equality import AnswerKind, group_many
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import spelling

Answers = Sequence[str | None]


@dataclass(frozen=True)
class ViewsVote:
    """The answers of two views in one set of classes, and the share that both give each class.

    `classes` are those of the first view's answers and then of the second's; `None` has no vote.
    `winner` is the class with the highest share; `None` where two share it, or no class is in both.
    `share` is its harmonic share 2 p0 p1 / (p0 + p1) and `margin` its lead over the next class,
    both in [0, 1]; p0 and p1 are its shares of all completions in each view. `answer` is the
    winner's commonest spelling, of equally common ones the shortest, then the first.
    """

    classes: tuple[int | None, ...]
    winner: int | None
    share: float
    margin: float
    answer: str | None


def vote_on_views(
    pairs: Sequence[tuple[Answers, Answers]],
    *,
    kind: str | AnswerKind = "math",
    verifier: Verifier | None = None,
) -> list[ViewsVote]:
    """Vote on the two views of many questions at once, with one batch for the verifier."""
    groups = [[*first, *second] for first, second in pairs]
    classes = group_many(groups, kind=kind, verifier=verifier)
    return [
        count_views(answers, tuple(found), len(first))
        for answers, found, (first, _) in zip(groups, classes, pairs, strict=True)
    ]


def count_views(answers: Answers, classes: Sequence[int | None], cut: int) -> ViewsVote:
    """Count answers whose classes are known; the first `cut` are those of the first view."""
    views = (classes[:cut], classes[cut:])
    sizes = [Counter(index for index in view if index is not None) for view in views]
    both = {
        index: _harmonic(
            *(size[index] / len(view) for size, view in zip(sizes, views, strict=True))
        )
        for index in sorted(sizes[0].keys() & sizes[1].keys())
    }
    # Zeros stand for a missing first or second class.
    share, after = (sorted(both.values(), reverse=True) + [0.0, 0.0])[:2]
    winner = next((index for index in both if share > after and both[index] == share), None)
    members = [
        answer for answer, index in zip(answers, classes, strict=True) if answer and index == winner
    ]
    spelt = spelling(members) if winner is not None and members else None
    return ViewsVote(tuple(classes), winner, share, share - after, spelt)


def _harmonic(first: float, second: float) -> float:
    return 2 * first * second / (first + second)
