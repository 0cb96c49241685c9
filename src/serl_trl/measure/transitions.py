"""What training did to each problem: learnt, kept, sharpened, lost, or never right.

A mean that rises hides what was lost. The majority of the same number of samples decides on both
sides, since a model that is rewarded for its own vote can make it surer, right or wrong.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction

from serl_trl.common.intervals import Interval
from serl_trl.measure.figures import Graded, Measurement, bootstrap, majority_right

# Disjoint, and every problem has one. The order is that of every table.
TRANSITIONS = ("learnt", "sharpened", "kept", "lost", "never")


def majority_is_right(graded: Graded) -> bool:
    """Return whether more samples are right than agree on any other answer; a tie is not right."""
    return majority_right(graded) == 1.0


def transition(base: Graded, trained: Graded) -> str:
    """Return which of `TRANSITIONS` happened to a problem.

    With the majority right before and after, it is `sharpened` where a larger share of the samples
    is right afterwards, and `kept` otherwise. Elsewhere the majority alone decides: `learnt` (wrong
    before, right after), `lost` (right before, wrong after), `never` (wrong on both sides). A tie
    for the first place is wrong, and so are samples without any answer.
    """
    before, after = majority_is_right(base), majority_is_right(trained)
    if before and after:
        # Fractions: shares of 3 and of 6 samples must be equal where they are.
        old, new = (Fraction(each.num_right, len(each.classes)) for each in (base, trained))
        return "sharpened" if new > old else "kept"
    return {(False, True): "learnt", (True, False): "lost"}.get((before, after), "never")


def transitions(base: Sequence[Graded], trained: Sequence[Graded]) -> list[str]:
    """Return the transition of each problem; both sides hold the same problems in one order."""
    return [transition(old, new) for old, new in zip(base, trained, strict=True)]


def counted(found: Iterable[str]) -> dict[str, int]:
    """Return how many problems made each transition, in the order of `TRANSITIONS`."""
    counts = Counter(found)
    return {name: counts[name] for name in TRANSITIONS}


def beyond_vote(base: Measurement, trained: Measurement) -> dict[str, Interval]:
    """Hold one sample of the trained model against the base's vote over the same n samples.

    `before` is the base's maj@n, `after` the trained model's pass@1, `change` the second less the
    first, paired over problems. A vote costs no training: what does not get beyond it taught the
    model its own vote.
    """
    votes = [majority_right(graded) for graded in base.problems]
    rights = trained.values()["pass@1"]
    gaps = [right - vote for vote, right in zip(votes, rights, strict=True)]
    parts = {"before": votes, "after": rights, "change": gaps}
    return {part: bootstrap(values) for part, values in parts.items()}
