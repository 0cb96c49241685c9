"""Extract, vote and compare with gold, for many groups at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from serl_trl.answers.equality import AnswerKind, answer_of, same_answers, spelled_alike
from serl_trl.answers.golds import read_gold
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import Vote, vote_groups
from serl_trl.common.completion import Completion


@dataclass(frozen=True)
class Ballot:
    """The vote of one group, and which completions have the gold answer (none: it is unknown)."""

    vote: Vote
    right: list[bool]


def count_ballots(
    groups: Sequence[Sequence[Completion]],
    golds: Sequence[str | None],
    *,
    kind: str | AnswerKind,
    verifier: Verifier | None = None,
) -> list[Ballot]:
    """Extract, vote and compare with gold for many groups at once.

    A truncated completion has no vote, whatever it says.
    """
    golds = [None if gold is None else read_gold(gold, kind) for gold in golds]
    answers = [[answer_of(each, kind=kind) for each in group] for group in groups]
    compared = [
        spelled_alike(group, gold, kind=kind) for group, gold in zip(answers, golds, strict=True)
    ]
    # Each pair once and in a fixed order: which pairs meet the verifier's deadline must not depend
    # on the order of the completions.
    pairs = sorted(
        {
            (answer, gold)
            for group, gold in compared
            for answer in group
            if answer is not None and gold is not None
        }
    )
    equal = dict(zip(pairs, same_answers(pairs, kind=kind, verifier=verifier), strict=True))
    # Gold answers take no part: the vote must come out as in a run without any.
    votes = vote_groups(answers, kind=kind, verifier=verifier)
    return [
        Ballot(vote, [equal.get((answer, gold), False) for answer in group])
        for vote, (group, gold) in zip(votes, compared, strict=True)
    ]
