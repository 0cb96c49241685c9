"""A prompt with its completions: voted on as a whole, rewarded, judged by the difficulty band."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from serl_trl.answers.equality import AnswerKind, extract_answer, same_answers, spelled_alike
from serl_trl.answers.golds import read_gold
from serl_trl.answers.verifier import Verifier
from serl_trl.answers.voting import Vote, in_band, vote_groups
from serl_trl.common.verdict import KEEP, Verdict


@dataclass(frozen=True)
class Completion:
    """One text of the policy after a prompt.

    `truncated` says that it did not end by itself. `logprobs` holds one value per token under the
    policy that sampled it, or `None` when the backend returns none and nobody has asked.
    """

    text: str
    token_ids: list[int]
    truncated: bool
    logprobs: list[float] | None = None


@dataclass(frozen=True)
class Group:
    """The completions of one instruction, voted on as a whole.

    `rewards` are the label rewards in the order of `completions`; `step` is the optimizer step
    whose weights sampled them; `gold` is the gold answer where one is known, else `None`.
    `label_right` says whether the majority answer is the gold answer; `None`: one is missing.
    """

    id: int
    instruction: str
    origin: str
    completions: list[Completion]
    vote: Vote
    rewards: list[float]
    step: int
    gold: str | None
    label_right: bool | None = None

    @classmethod
    def from_state(cls, saved: dict[str, Any]) -> "Group":
        """Rebuild a group from `dataclasses.asdict` after a trip through JSON."""
        fields = dict(saved)
        vote = dict(fields["vote"])
        vote["counts"] = tuple((answer, count) for answer, count in vote["counts"])
        fields["vote"] = Vote(**vote)
        fields["completions"] = [Completion(**saved) for saved in fields["completions"]]
        return cls(**fields)

    def scored(self, logprobs: Sequence[list[float]]) -> "Group":
        """Return the group with the sampling log-probs of its completions."""
        completions = [
            replace(completion, logprobs=values)
            for completion, values in zip(self.completions, logprobs, strict=True)
        ]
        return replace(self, completions=completions)


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
    answers = [
        [None if c.truncated else extract_answer(c.text, kind=kind) for c in group]
        for group in groups
    ]
    compared = [
        spelled_alike(group, gold, kind=kind) for group, gold in zip(answers, golds, strict=True)
    ]
    pairs = sorted(
        {
            (answer, gold)
            for group, gold in compared
            for answer in group
            if answer is not None and gold is not None
        }
    )
    equal = dict(zip(pairs, same_answers(pairs, kind=kind, verifier=verifier), strict=True))
    votes = vote_groups(answers, kind=kind, verifier=verifier)
    return [
        Ballot(vote, [equal.get((answer, gold), False) for answer in group])
        for vote, (group, gold) in zip(votes, compared, strict=True)
    ]


def label_rewards(label: str, vote: Vote, right: Sequence[bool], rng: random.Random) -> list[float]:
    """Return the reward of each completion by the label reward's name; see `SeRLConfig`.

    `right` says which completions have the gold answer; "random" draws a fair coin from `rng`.
    """
    match label:
        case "gold":
            return [float(hit) for hit in right]
        case "random":
            return [float(rng.random() < 0.5) for _ in right]
        case "none":
            return [0.0] * len(right)
        case _:
            return list(vote.rewards)


def judge_group(group: Group, *, label: str, use_band: bool, low: float, high: float) -> Verdict:
    """Say whether a group is trained on.

    A vote needs a majority answer and a gold label needs a gold answer; with `use_band` the
    majority ratio must also lie in [`low`, `high`].
    """
    vote = group.vote
    if label == "gold" and group.gold is None:
        return Verdict(False, "no_gold")
    if label == "vote" and vote.answer is None:
        if vote.num_unparsable == len(group.completions):
            return Verdict(False, "unparsable")
        return Verdict(False, "tie" if vote.tied else "no_majority")
    if not use_band or in_band(vote.majority_ratio, low=low, high=high):
        return KEEP
    return Verdict(False, "band_low" if vote.majority_ratio < low else "band_high")
