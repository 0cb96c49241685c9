"""A share or a mean with its 95 % interval, and the interval of a share that was counted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

_Z = 1.959964  # 95 %, two-sided
# The same quantile of Student's t, by degrees of freedom: an interval over few runs.
_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


@dataclass(frozen=True)
class Interval:
    """A mean over problems with its 95 % interval, which one problem alone does not have."""

    mean: float
    low: float | None
    high: float | None

    def bounds(self, *, sign: str = "") -> str:
        """Return the interval as text, "-" where there is none; `sign` "+" shows a plus."""
        if self.low is None or self.high is None:
            return "-"
        return f"[{self.low:{sign}.3f}, {self.high:{sign}.3f}]"


def wilson(share: float, size: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a `share` of `size` trials, within [0, 1].

    It is never empty, unlike the usual one at shares of 0 and 1. For the mean of values in [0, 1]
    it is cautious, since they vary at most as right and wrong do.
    """
    spread = _Z * math.sqrt(share * (1 - share) / size + _Z**2 / (4 * size**2))
    middle, scale = share + _Z**2 / (2 * size), 1 + _Z**2 / size
    # It holds the share, but for rounding.
    return (
        min(share, max(0.0, (middle - spread) / scale)),
        max(share, min(1.0, (middle + spread) / scale)),
    )


def student(values: Sequence[float]) -> Interval:
    """Return the mean of `values` with Student's 95 % interval; fewer than two have none.

    For the means of a few training runs. From 11 values on the normal quantile is taken.
    """
    if len(values) < 2:
        return Interval(float(sum(values)), None, None)
    mean = fmean(values)
    half = _T.get(len(values) - 1, _Z) * stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def clustered(clusters: Sequence[Sequence[float]]) -> Interval:
    """Return the mean of all values with a 95 % interval that lets a cluster's values go together.

    Of n values in G clusters the variance of their mean is the sum over clusters of the squared sum
    of deviations from it, over n squared, times G / (G - 1): with one value in each cluster it is
    the usual standard error. Fewer than two clusters have no interval. Source: Miller, arXiv
    2411.00640 (after Liang and Zeger, 1986); the factor is the usual one for few clusters.
    """
    values = [value for cluster in clusters for value in cluster]
    filled = [cluster for cluster in clusters if cluster]
    if len(filled) < 2:
        return Interval(fmean(values) if values else 0.0, None, None)
    mean = fmean(values)
    squares = sum(sum(value - mean for value in cluster) ** 2 for cluster in filled)
    factor = len(filled) / (len(filled) - 1)
    half = _Z * math.sqrt(factor * squares) / len(values)
    return Interval(mean, mean - half, mean + half)
