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


def pair_similarity(first: Sequence[int], second: Sequence[int]) -> float:
    """Return how alike two completions are: Dice's share of common token bigrams, in [0, 1].

    Each bigram counts once. Where neither has two tokens, 1.0 if they are equal. Two of a group
    cost a set each; a mean over all pairs, or ROUGE-L, would take a share of a step.
    """
    one, two = _grams(first, 2), _grams(second, 2)
    total = len(one) + len(two)
    return 2 * len(one & two) / total if total else float(list(first) == list(second))


def repetition_ratio(tokens: Sequence[int]) -> float:
    """Return the share of 4-grams of tokens that came before in the same text, in [0, 1].

    0.0 when there is none. Source: the repetition rate of Welleck et al. 2020, arXiv 1908.04319.
    """
    total = len(tokens) - 3
    return 1 - len(_grams(tokens, 4)) / total if total > 0 else 0.0


def _grams(tokens: Sequence[int], size: int) -> set[tuple[int, ...]]:
    return set(zip(*(tokens[start:] for start in range(size)), strict=False))
