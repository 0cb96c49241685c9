"""What the chosen filters think of the user's own seeds: proposals are written after them.

Seeds stay whatever a filter says of them. But a filter that refuses many of them refuses the
proposals too, and a run that could be mended by one option starves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serl_trl.filters.named import bind_filter

# A text takes about a millisecond, and who checks a config waits for it.
MAX_JUDGED = 300
_NUM_EXAMPLES = 2


@dataclass(frozen=True)
class Refusals:
    """How many seeds a filter refuses, its first reason, and the first of those seeds."""

    filter: str
    reason: str
    num: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class JudgedSeeds:
    """How many seeds were looked at, how many some filter refuses, and each filter's refusals.

    `refusals` come with the largest number first. A seed that several filters refuse counts for
    each of them, because leaving out one alone would not help it.
    """

    num_judged: int
    num_refused: int
    refusals: tuple[Refusals, ...]


def judge_seeds(
    seeds: Sequence[str], names: Sequence[str], options: Mapping[str, dict[str, Any]]
) -> JudgedSeeds:
    """Show at most `MAX_JUDGED` of the seeds, evenly spread, to the built-in filters `names`.

    `options` are those of `filter_options`.
    """
    num = min(len(seeds), MAX_JUDGED)
    texts = [seeds[place * len(seeds) // num] for place in range(num)]
    refused: set[int] = set()
    found = []
    for name in names:
        judge = bind_filter(name, options)
        verdicts = [judge(text) for text in texts]
        rows = [row for row, verdict in enumerate(verdicts) if not verdict.keep]
        refused |= set(rows)
        if rows:
            shown = tuple(texts[row] for row in rows[:_NUM_EXAMPLES])
            found.append(Refusals(name, verdicts[rows[0]].reason, len(rows), shown))
    found.sort(key=lambda each: -each.num)
    return JudgedSeeds(num, len(refused), tuple(found))
