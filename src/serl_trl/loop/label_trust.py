"""How far the labels can be trusted: by gold on a probe set, and a bound without any gold.

Plain numbers in and out; `docs/diagnostics.md` says what each means and what it does not.
"""

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

from serl_trl.answers.voting import MIN_VOTES
from serl_trl.common.intervals import wilson


@dataclass(frozen=True)
class CheckedLabel:
    """The majority answer of a group with a known gold answer: its ratio, and whether it is right.

    `reward_accuracy` is the share of the completions whose vote reward agrees with the gold answer.
    """

    majority_ratio: float
    right: bool
    reward_accuracy: float


@dataclass(frozen=True)
class Bin:
    """The labels whose majority ratio lies in one part of (0, 1], and how many are right.

    `accuracy` is the share of right ones, [`low`, `high`] its 95 % Wilson interval.
    """

    num_labels: int
    majority_ratio: float
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """An estimated share with its 95 % interval, all in [0, 1]."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SplitHalf:
    """The votes of all halves of one group: half of its completions, drawn in every possible way.

    `label_rate` is the share of the halves that have a majority answer; `wrong_rate` the share
    that has a wrong one at the very least. Both lie in [0, 1].
    """

    label_rate: float
    wrong_rate: float


def check_label(classes: Sequence[int | None], gold_class: int) -> CheckedLabel | None:
    """Vote on the `classes` of a group's answers and compare with the class of the gold answer.

    A class `None` has no vote. `None` comes back where there is no majority answer: a tie, or
    fewer than 2 votes.
    """
    ranked = Counter(c for c in classes if c is not None).most_common(2)
    votes = [count for _, count in ranked] + [0, 0]
    # The rules of the vote, without the log-probs that could break a tie.
    if votes[0] < MIN_VOTES or votes[0] == votes[1]:
        return None
    winner = ranked[0][0]
    # A completion outside the majority is right to get no reward where it is wrong.
    agrees = [(c == winner) == (c == gold_class) for c in classes]
    return CheckedLabel(votes[0] / len(classes), winner == gold_class, fmean(agrees))


def reliability_curve(labels: Sequence[CheckedLabel], *, num_bins: int = 10) -> list[Bin]:
    """Return the bins of equal width in rising order of majority ratio; empty ones are left out.

    A ratio on a border belongs to the upper bin, 1.0 to the last. No labels make no bins.
    """
    members: dict[int, list[CheckedLabel]] = {}
    for label in labels:
        # Rounding may put a ratio on a border just below it.
        number = min(int(label.majority_ratio * num_bins + 1e-9), num_bins - 1)
        members.setdefault(number, []).append(label)
    return [_bin(members[number]) for number in sorted(members)]


def calibration_error(labels: Sequence[CheckedLabel]) -> float:
    """Return the expected calibration error of the majority ratio read as a confidence, in [0, 1].

    The mean over the labels of the distance of their bin's accuracy to its mean ratio; 0.0 for no
    labels. Chance alone keeps it above 0, the more so the fewer labels there are.
    Source: Guo et al. 2017, arXiv 1706.04599.
    """
    bins = reliability_curve(labels)
    gaps = [b.num_labels * abs(b.accuracy - b.majority_ratio) for b in bins]
    return math.fsum(gaps) / len(labels) if labels else 0.0


def estimate_label_accuracy(
    labels: Sequence[CheckedLabel],
    majority_ratios: Sequence[float],
    *,
    rng: random.Random,
    num_resamples: int = 1000,
) -> Estimate:
    """Estimate the label accuracy of groups without gold from their `majority_ratios`.

    The chance that a label is right is fitted to `labels` as a function that never falls with the
    majority ratio. Assumes that the function holds for the groups too. Beyond the ratios
    of `labels` the value takes the nearest one; the interval takes all that a function that never
    falls may have there.

    The interval is the percentile interval of a Bayesian bootstrap of `labels` (with one more right
    label at the lowest ratio and one more wrong at the highest, so that few labels are never
    certain), over fresh groups like the given ones. Raises `ValueError` for nothing to fit or
    estimate.
    """
    if not labels or not majority_ratios:
        raise ValueError(
            f"labels={len(labels)} and majority_ratios={len(majority_ratios)}: each needs at least "
            "one; leave the estimate out."
        )
    groups = _Groups.of(majority_ratios, sorted({label.majority_ratio for label in labels}))
    right = Counter(label.majority_ratio for label in labels if label.right)
    wrong = Counter(label.majority_ratio for label in labels if not label.right)
    rates = _never_falling([(right[r], wrong[r]) for r in groups.ratios])
    lows, highs = [], []
    for _ in range(num_resamples):
        drawn = _redrawn(groups.ratios, right, wrong, rng)
        # One draw for both ends; a group drawn anew is right with the mean chance of all.
        chances = [rng.random() for _ in majority_ratios]
        for shares, ends in ((lows, (0.0, drawn[-1])), (highs, (drawn[0], 1.0))):
            expected = groups.expected(drawn, *ends)
            shares.append(sum(chance < expected for chance in chances) / len(chances))
    value = groups.expected(rates, rates[0], rates[-1])
    low = sorted(lows)[int(0.025 * num_resamples)]
    high = sorted(highs)[math.ceil(0.975 * num_resamples) - 1]
    return Estimate(value, min(low, value), max(high, value))


def _redrawn(
    ratios: Sequence[float], right: Counter[float], wrong: Counter[float], rng: random.Random
) -> list[float]:
    """Return the rates of one resample, with one more right label below and a wrong one above."""
    weights = []
    for ratio in ratios:
        # Right before wrong, ratio after ratio: the order of the draws is part of the result.
        more_right = _weight(right[ratio] + (ratio == ratios[0]), rng)
        weights.append((more_right, _weight(wrong[ratio] + (ratio == ratios[-1]), rng)))
    return _never_falling(weights)


@dataclass(frozen=True)
class _Groups:
    """The majority ratios of groups, seen from the `ratios` at which labels are known."""

    ratios: list[float]
    inside: Counter[float]
    below: int
    above: int

    @classmethod
    def of(cls, majority_ratios: Sequence[float], ratios: list[float]) -> "_Groups":
        return cls(
            ratios,
            Counter(r for r in majority_ratios if ratios[0] <= r <= ratios[-1]),
            sum(ratio < ratios[0] for ratio in majority_ratios),
            sum(ratio > ratios[-1] for ratio in majority_ratios),
        )

    def expected(self, rates: list[float], under: float, over: float) -> float:
        """Return the share of right labels by `rates`, and by `under` and `over` beyond them."""
        within = (n * _interpolate(self.ratios, rates, ratio) for ratio, n in self.inside.items())
        whole = math.fsum(within) + self.below * under + self.above * over
        return min(1.0, whole / (self.inside.total() + self.below + self.above))


# Groups of one size have few different counts.
@lru_cache(maxsize=4096)
def split_half(counts: tuple[int, ...], *, num_unparsable: int) -> SplitHalf:
    """Bound from below how often half of a group's completions elect a wrong majority answer.

    `counts` are the votes of each answer of the whole group. Halves have G // 2 completions, and
    the rules of the vote: at least 2 votes, no tie. At most one answer is right, so of the halves
    with a majority answer all but those with the commonest one are wrong. Two disjoint halves that
    disagree are the same argument; half their share is never larger than this.
    """
    total = sum(counts) + num_unparsable
    size = total // 2
    wins = []
    for number, count in enumerate(counts):
        # Answers with equally many votes win equally many halves.
        if number and count == counts[number - 1]:
            wins.append(wins[-1])
            continue
        others = counts[:number] + counts[number + 1 :]
        wins.append(
            sum(
                math.comb(count, votes)
                * _num_losing_draws(others, size - votes, below=votes, free=num_unparsable)
                for votes in range(MIN_VOTES, min(count, size) + 1)
            )
        )
    halves = math.comb(total, size)
    most = max(wins, default=0)
    return SplitHalf(sum(wins) / halves, (sum(wins) - most) / halves)


def split_half_error_bound(halves: Sequence[SplitHalf]) -> float | None:
    """Return the least share of wrong ones among the labels that half-size votes give, in [0, 1].

    `None` where no half of any group has a majority answer.
    """
    given = math.fsum(half.label_rate for half in halves)
    return math.fsum(half.wrong_rate for half in halves) / given if given else None


def probe_metrics(
    labels: Sequence[CheckedLabel], majority_ratios: Sequence[float], *, rng: random.Random
) -> dict[str, float]:
    """Return what a probe says of the labels; what cannot be known is left out.

    `majority_ratios` are those of the groups kept for training since the last probe, with as many
    completions as the `labels` were voted by; without any nothing is estimated.
    """
    if not labels:
        return {}
    metrics = {
        "probe/label_accuracy": fmean(label.right for label in labels),
        "probe/reward_accuracy": fmean(label.reward_accuracy for label in labels),
        "probe/calibration_error": calibration_error(labels),
    }
    if majority_ratios:
        estimate = estimate_label_accuracy(labels, majority_ratios, rng=rng)
        metrics["kept_label_accuracy_estimate"] = estimate.value
        metrics["kept_label_accuracy_low"] = estimate.low
        metrics["kept_label_accuracy_high"] = estimate.high
    return metrics


def reward_gap(labels: Sequence[CheckedLabel | None], right: float) -> float:
    """Return what the vote rewards beyond gold: a mean over the completions of a probe, in [-1, 1].

    `labels` has one entry for each problem; without a majority answer (`None`) the vote rewards
    nothing. `right` is the share of completions that gold rewards. Source: arXiv 2605.22217.
    """
    return sum(label.majority_ratio for label in labels if label) / len(labels) - right


def _bin(labels: Sequence[CheckedLabel]) -> Bin:
    size = len(labels)
    share = sum(label.right for label in labels) / size
    low, high = wilson(share, size)
    return Bin(
        num_labels=size,
        majority_ratio=math.fsum(label.majority_ratio for label in labels) / size,
        accuracy=share,
        low=low,
        high=high,
    )


def _never_falling(weights: Sequence[tuple[float, float]]) -> list[float]:
    """Fit shares that never fall to (right, wrong) weights: pool neighbours that would fall."""
    pools: list[tuple[float, float, int]] = []
    for right, wrong in weights:
        pools.append((right, wrong, 1))
        # Pooling may make the pool before the higher one, so it is looked at again.
        while len(pools) > 1 and _share(pools[-2]) >= _share(pools[-1]):
            (right_a, wrong_a, size_a), (right_b, wrong_b, size_b) = pools[-2:]
            pools[-2:] = [(right_a + right_b, wrong_a + wrong_b, size_a + size_b)]
    return [_share(pool) for pool in pools for _ in range(pool[2])]


def _share(pool: tuple[float, float, int]) -> float:
    return pool[0] / (pool[0] + pool[1])


def _weight(count: int, rng: random.Random) -> float:
    """The weight of `count` labels in a Bayesian bootstrap: a sum of so many exponentials."""
    return rng.gammavariate(count, 1.0) if count else 0.0


def _interpolate(ratios: Sequence[float], rates: Sequence[float], ratio: float) -> float:
    """Read `rates` at `ratio`, in a straight line between the two `ratios` around it."""
    upper = next(number for number, known in enumerate(ratios) if known >= ratio)
    if ratios[upper] == ratio:
        return rates[upper]
    lower = upper - 1
    part = (ratio - ratios[lower]) / (ratios[upper] - ratios[lower])
    return rates[lower] + part * (rates[upper] - rates[lower])


def _num_losing_draws(counts: Sequence[int], size: int, *, below: int, free: int) -> int:
    """Count the ways to draw `size` completions with fewer than `below` of each of `counts`.

    Any number of the `free` ones may be drawn.
    """
    # Begins with the completions without an answer, of which any number may be drawn.
    ways = [math.comb(free, drawn) for drawn in range(size + 1)]
    for count in counts:
        most = min(count, below - 1)
        ways = [
            sum(
                math.comb(count, taken) * ways[drawn - taken]
                for taken in range(min(most, drawn) + 1)
            )
            for drawn in range(size + 1)
        ]
    return ways[size]
