"""How varied the instructions are, in numbers: pure functions of texts, for each step's log."""

from collections import Counter
from collections.abc import Collection, Sequence

from serl_trl.common.mathtext import math_tokens, template


def template_ratio(texts: Sequence[str]) -> float:
    """Return templates per text, in [0, 1]; 1.0: no two texts share one, 0.0: there is no text."""
    return len({template(text) for text in texts}) / len(texts) if texts else 0.0


def top_template_ratio(texts: Sequence[str]) -> float:
    """Return the share of the texts that have the commonest template, in [0, 1]; 0.0: no text."""
    counts = Counter(template(text) for text in texts)
    return counts.most_common(1)[0][1] / len(texts) if texts else 0.0


def distinct_ratio(texts: Sequence[str], *, n: int) -> float:
    """Return distinct-n: the different n-grams of mathematical tokens per n-gram, in [0, 1].

    0.0 when no text has `n` tokens. It falls with the number of texts; compare equal numbers.
    Source: Li et al. 2016, arXiv 1510.03055.
    """
    seen: set[tuple[str, ...]] = set()
    total = 0
    for text in texts:
        tokens = math_tokens(text)
        # N-grams stay within a text: two texts side by side are not one phrase.
        grams = [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
        seen.update(grams)
        total += len(grams)
    return len(seen) / total if total else 0.0


def seed_coverage_ratio(shown: Collection[str], *, num_seeds: int) -> float:
    """Return the share of the seeds among the origins `shown` ("seed:12"), in [0, 1]."""
    seeds = {origin for origin in shown if origin.startswith("seed:")}
    return len(seeds) / num_seeds if num_seeds else 0.0
