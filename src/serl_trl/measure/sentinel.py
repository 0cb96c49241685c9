"""The sentinel set: some seeds, answered again and again, so that a change of mind shows.

A collapse can be silent: the model goes on to agree with itself, as long, as varied and as sure as
before, on other answers. Its own earlier votes on the same questions show that, without a label.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

# Seeds, and completions of each. With fewer votes a seed settles by chance: replayed with two
# votes, or with half the seeds, healthy runs and collapsing ones overlap (benchmarks/guard.py).
SIZE, VOTES = 64, 4

MIN_SETTLED = 16
"""Settled seeds below which nothing is said: chance moves the share of their votes too far."""


def completions_per_step(values: Mapping[str, Any]) -> float:
    """Return how many completions of the sentinel set a step costs on average, by the options."""
    on = values["use_selfplay"] and values["collapse_guard"] != "off" and values["sentinel_steps"]
    return SIZE * VOTES / values["sentinel_steps"] if on else 0.0


@dataclass
class Sentinel:
    """What the seeds of the set were answered so far.

    `settled` holds for each seed the answer of the first check in which all its votes agreed, and
    `None` before that; `last` the commonest answer of the last check. A weak model settles on few
    answers at first and on more as it learns, so a seed joins when it settles. `expected` is how
    many settled seeds a vote would be cast for again if the model stayed as it was.
    """

    settled: list[str | None] = field(default_factory=list)
    last: list[str | None] = field(default_factory=list)
    expected: float = 0.0

    def known(self, seed: int) -> list[str]:
        """Return the answers to which the votes of a seed will be compared."""
        found = [each[seed] for each in (self.settled, self.last) if seed < len(each)]
        return list(dict.fromkeys(answer for answer in found if answer is not None))

    def take(self, votes: Sequence[Mapping[str, int]], *, num_votes: int) -> dict[str, float]:
        """Take in one check, and return its figures, each in [0, 1].

        `votes` counts for each seed which answers its `num_votes` completions gave; equal answers
        have one spelling, that of `known` where they equal one of these. What cannot be told yet is
        left out. Of equally common answers the first counts.
        """
        commonest = [max(seed, key=seed.__getitem__) if seed else None for seed in votes]
        before = [pair for pair in enumerate(self.settled) if pair[1] is not None]
        found: dict[str, float] = {}
        if len(before) >= MIN_SETTLED:
            found["support_ratio"] = fmean(votes[i].get(a, 0) / num_votes for i, a in before)
            found["flip_ratio"] = fmean(commonest[i] != a for i, a in before)
            found["support_floor"] = _floor(self.expected / len(before), num_votes * len(before))
        if self.last:
            pairs = zip(commonest, self.last, strict=True)
            found["moved_ratio"] = fmean(now != then for now, then in pairs)
        if top := Counter(each for each in commonest if each is not None).most_common(1):
            found["commonest_answer_ratio"] = top[0][1] / len(votes)
        agreed = [
            answer if answer is not None and seed[answer] == num_votes else None
            for answer, seed in zip(commonest, votes, strict=True)
        ]
        settled = self.settled or [None] * len(votes)
        fresh = [i for i, known in enumerate(settled) if known is None]
        self.expected += _expected(
            sum(agreed[i] is not None for i in fresh),
            sum(max(votes[i].values(), default=0) == num_votes - 1 for i in fresh),
            num_votes,
        )
        self.settled = [old or new for old, new in zip(settled, agreed, strict=True)]
        self.last = commonest
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return what was answered, as plain JSON values."""
        found = {"settled": list(self.settled), "last": list(self.last)}
        return {**found, "expected": self.expected}


def _expected(full: int, almost: int, num_votes: int) -> float:
    """Return for how many of `full` seeds that just settled one more vote would say the same.

    Some agreed by chance: a seed whose answer wins each vote with p settles with p^n. So the votes
    to come agree with E(p^(n+1)) / E(p^n), which is at least E(p^n) / E(p^(n-1)) (Cauchy-Schwarz).
    That one is counted: of n votes but one, the seeds with `almost` all agree in one case of n.
    """
    return full * full / (full + almost / num_votes) if full else 0.0


def _floor(expected: float, num: int) -> float:
    """Return what share of `num` votes is seen at least where a share `expected` is to be seen."""
    # 3.5 standard errors: `expected` has an error of its own, and a run makes many checks.
    return max(0.0, expected - 3.5 * (expected * (1 - expected) / num) ** 0.5)
