"""What the chosen filters think of the user's own seeds: proposals are written after them.

Seeds stay whatever a filter says of them. But a filter that refuses many of them refuses the
proposals too, and a run that could be mended by one option starves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serl_trl.filters.registry import MAX_CHARS, bind_filter
from serl_trl.filters.validity.spelling import spelling

# Who checks a config waits: a thousand signs take about five milliseconds. A few long texts are
# looked at all the same.
MAX_JUDGED, _MAX_CHARS_IN_ALL, _MIN_JUDGED = 300, 60_000, 20
_NUM_EXAMPLES = 2
# A filter that refuses fewer leaves a run enough: a few odd seeds are usual.
_MAX_REFUSED = 0.1


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

    @property
    def often(self) -> list[str]:
        """The filters that refuse so many seeds that a run may starve of proposals like them."""
        return [r.filter for r in self.refusals if r.num > _MAX_REFUSED * self.num_judged]


def spread(seeds: Sequence[str]) -> list[str]:
    """Return at most `MAX_JUDGED` of the seeds, fewer of long ones, evenly spread over all."""
    chars = sum(min(len(text), MAX_CHARS) for text in seeds)
    most = max(_MIN_JUDGED, _MAX_CHARS_IN_ALL * len(seeds) // max(chars, 1))
    num = min(len(seeds), MAX_JUDGED, most)
    return [seeds[place * len(seeds) // num][:MAX_CHARS] for place in range(num)]


def knows_words_of(seeds: Sequence[str]) -> bool:
    """Whether the list of words suits a domain: it finds nothing misspelt in its seeds.

    It does not know the words of medicine or of programming, whose proposals it would refuse. Looks
    at the seeds that `spread` takes.
    """
    return not any(spelling(text).score for text in spread(seeds))


def judge_seeds(
    seeds: Sequence[str], names: Sequence[str], options: Mapping[str, dict[str, Any]]
) -> JudgedSeeds:
    """Show the seeds that `spread` takes to the built-in filters `names`.

    `options` are those of `filter_options`.
    """
    texts = spread(seeds)
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
    return JudgedSeeds(len(texts), len(refused), tuple(found))
