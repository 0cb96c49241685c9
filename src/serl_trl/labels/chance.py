"""What votes agree on when they are drawn at random: the floor that a band has to stay above.

With few possible answers, completions that know nothing still agree: of 16 random votes over two
labels the commonest has 60 % on average, over four labels 38 %. A band that begins lower trains on
coin tosses.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from serl_trl.answers.equality import known_labels
from serl_trl.labels.band import reachable_votes
from serl_trl.labels.gated import widens_band

PAPER_LOW, PAPER_HIGH = 0.2, 0.8
"""The band where the number of labels is not known. Source: SeRL, arXiv 2505.20347."""

# One group of pure noise in twenty agrees more, the usual level of a test.
_QUANTILE = 0.95


@dataclass(frozen=True)
class Ends:
    """The ends of a difficulty band, both included; `derived` when the user gave neither."""

    low: float
    high: float
    derived: bool = False


def majority_at_most(most: int, *, votes: int, labels: int) -> float:
    """Return the chance that no label gets more than `most` of `votes` uniform random votes.

    Exact but for rounding: the counts are multinomial, which is what independent Poisson counts of
    mean votes / labels are once their sum is known to be `votes`. So the chance is a coefficient
    of a power of the truncated Poisson series, over the chance of that sum.
    """
    mean = votes / labels
    series = np.array([_poisson(k, mean) for k in range(min(most, votes) + 1)])
    total = np.ones(1)
    # All terms are positive, so that nothing cancels.
    for bit in f"{labels:b}":
        total = np.convolve(total, total)[: votes + 1]
        if bit == "1":
            total = np.convolve(total, series)[: votes + 1]
    return float(total[votes] / _poisson(votes, votes)) if len(total) > votes else 0.0


def majority_of_noise(*, votes: int, labels: int) -> tuple[float, float]:
    """Return mean and standard deviation of the majority ratio of random votes."""
    above = [1 - majority_at_most(most, votes=votes, labels=labels) for most in range(votes)]
    mean = math.fsum(above)
    square = math.fsum((2 * most + 1) * share for most, share in enumerate(above))
    return mean / votes, math.sqrt(max(0.0, square - mean**2)) / votes


def noise_in_band(
    *, votes: int, labels: int, low: float, high: float, read: int | None = None
) -> float:
    """Return the share of groups of random votes whose majority ratio lies in [low, high].

    Of the `votes` completions `read` have an answer, which is drawn at random; `None`: all. Those
    without one count in the ratio. Ties for the first place count, although the vote then refuses
    the group.
    """
    read = votes if read is None else read
    inside = reachable_votes(votes, low=low, high=high)
    if not inside or not read:
        return 0.0
    below = majority_at_most(inside[0] - 1, votes=read, labels=labels)
    return max(0.0, majority_at_most(inside[-1], votes=read, labels=labels) - below)


def find_band(low: float | None, high: float | None, *, votes: int, labels: int | None) -> Ends:
    """Return the ends of the band: those given, else the paper's, or what chance asks for.

    Where neither is given and the number of `labels` is known, the lower end is the 95th percentile
    of chance, at least the paper's and at most one vote short of all. The upper end is the paper's,
    or halfway from the lower end to 1 where that is more: 0.75 to 0.875 for 16 votes on two labels.
    """
    if low is not None or high is not None or not labels or votes <= 2:
        given = (PAPER_LOW if low is None else low, PAPER_HIGH if high is None else high)
        return Ends(*given, derived=low is None and high is None)
    # Bisection: the chance grows with `most`, and one value may be dear to compute.
    below, most = 0, votes
    while most - below > 1:
        middle = (below + most) // 2
        if majority_at_most(middle, votes=votes, labels=labels) < _QUANTILE:
            below = middle
        else:
            most = middle
    start = max(PAPER_LOW, min(most, votes - 1) / votes)
    return Ends(start, max(PAPER_HIGH, (1 + start) / 2), derived=True)


def ends_of(values: Mapping[str, Any]) -> Ends:
    """Return the ends of the band that the options of a run mean."""
    known = known_labels(str(values.get("answer_kind")))
    low, high = values.get("difficulty_low"), values.get("difficulty_high")
    votes = values["num_generations"]
    ends = find_band(low, high, votes=votes, labels=len(known or ()))
    if ends.derived and widens_band(values):
        # Most valid questions lie above the usual upper end, where the gate finds what it keeps.
        # A group of one mind alone teaches nothing.
        return replace(ends, high=max(ends.high, 1 - 1 / votes))
    return ends


def _poisson(count: int, mean: float) -> float:
    return math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))
