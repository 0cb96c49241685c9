"""A share or a mean with its 95 % interval, and the interval of a share that was counted."""

import math
from dataclasses import dataclass

_Z = 1.959964  # 95 %, two-sided


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
