"""The signals of one question and its votes, as the chance that the question is valid.

A small logistic model. Its coefficients were fitted on the votes of sandboxes, where validity is
known, and lie in `gate.json`; `fit` makes others from questions of which one knows it. A signal
that a model does not know counts as an independent reason to doubt. Thresholds follow from the
precision that is wanted: `threshold_for` of what is kept, `careful_threshold` of what is refused.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

import numpy as np

from serl_trl.filters.validity.sign import Sign
from serl_trl.filters.validity.vote_shape import VoteShape, vote_shape

# What speaks for a question, and against it.
FOR = ("agreement", "margin", "majority")
AGAINST = ("text", "domain", "shape", "tail", "unparsable")
FEATURES = (*FOR, *AGAINST)
# What a model is fitted on, unless it is told otherwise. The other shapes of a vote add nothing to
# the agreement, and the share of lone answers grows as groups get smaller.
FITTED = ("agreement",)


def features_of(*, text: float, domain: Sign, shape: VoteShape) -> dict[str, float]:
    """Return the free features, each in [0, 1]: `text` is the doubt of the text signals."""
    return {
        "text": text,
        "domain": domain.score,
        "shape": vote_shape(shape).score,
        **{
            name: getattr(shape, name)
            for name in ("agreement", "margin", "majority", "tail", "unparsable")
        },
    }


@dataclass(frozen=True)
class ValidityModel:
    """A logistic model: log-odds of "valid" are `bias` plus each feature times its weight.

    `num` questions, of which `num_valid` valid, were fitted; `usual` are the means of the valid
    ones. A question is refused below a threshold: below `careful` nearly all were broken, from
    `strict` on nearly all were valid.
    """

    bias: float
    weights: Mapping[str, float]
    num: int = 0
    num_valid: int = 0
    usual: Mapping[str, float] = field(default_factory=dict)
    careful: float = 0.0
    strict: float = 1.0

    def log_odds(self, features: Mapping[str, float]) -> float:
        """Return the log-odds that the question is valid; a feature that is missing counts 0."""
        return self.bias + sum(w * features.get(name, 0.0) for name, w in self.weights.items())

    def p_valid(self, features: Mapping[str, float]) -> float:
        """Return the chance that the question is valid, in [0, 1]."""
        return float(1 / (1 + np.exp(-np.clip(self.log_odds(features), -50, 50))))

    def deciding(self, features: Mapping[str, float]) -> str:
        """Return the feature that speaks most against the question, compared with the usual values.

        Of equal ones the first.
        """
        against = {
            name: w * (features.get(name, 0.0) - self.usual.get(name, 0.0))
            for name, w in self.weights.items()
        }
        return min(against, key=lambda name: against[name])


@dataclass(frozen=True)
class Judged:
    """The chance that a question is valid, and the signal that speaks most against it."""

    p_valid: float
    signal: str
    found: str = ""


def judge(model: ValidityModel, agreement: float, signs: Mapping[str, Sign]) -> Judged:
    """Judge a question by the agreement of its votes and the signs of other signals.

    A sign that the model has no weight for multiplies the chance by what it leaves, 1 less its
    score: it was never seen beside the others.
    """
    values = {"agreement": agreement, **{name: sign.score for name, sign in signs.items()}}
    factors = {model.deciding(values): model.p_valid(values)}
    factors |= {name: 1 - s.score for name, s in signs.items() if name not in model.weights}
    signal = min(factors, key=lambda name: factors[name])
    found = signs[signal].found if signal in signs else f"{agreement:.0%} agree"
    return Judged(math.prod(factors.values()), signal, found)


# The wanted precision of refusals, and of what is kept: the first that leaves so many of the valid
# ones. Votes alone leave none at 0.9 but what all agree on, which teaches nothing.
CAREFUL, STRICT, MIN_LEFT = 0.9, (0.9, 0.8), 0.5

# Weak, so that a feature which is always 0 gets no weight, and two that go together share one.
_RIDGE = 1.0
_MAX_ROUNDS, _CLOSE = 100, 1e-8


def fit(
    rows: Sequence[Mapping[str, float]], valid: Sequence[bool], names: Sequence[str] = FITTED
) -> ValidityModel:
    """Return the model that suits these questions best, by maximum likelihood with a ridge of 1.

    It reads the features `names`. A feature whose weight would have the wrong sign, so that a sign
    of a broken question raised its chance, gets no weight. Raises `ValueError` unless both valid
    and broken questions are there.
    """
    truth = np.array(valid, dtype=float)
    if not 0 < truth.sum() < len(truth):
        raise ValueError(
            f"num_valid={int(truth.sum())} of {len(truth)} questions: the model needs valid and "
            "broken ones; add questions of the other sort."
        )
    used = list(names)
    while True:
        seen = np.array([[1.0, *(row.get(name, 0.0) for name in used)] for row in rows])
        bias, *found = map(float, _likeliest(seen, truth))
        weights = dict(zip(used, found, strict=True))
        wrong = [name for name in used if (weights[name] < 0) == (name in FOR) and weights[name]]
        if not wrong:
            break
        # The worst alone: without it the others may be right.
        used.remove(max(wrong, key=lambda name: abs(weights[name])))
    weights = {name: weights.get(name, 0.0) for name in names}
    sound = [row for row, is_valid in zip(rows, valid, strict=True) if is_valid]
    usual = {name: fmean(row.get(name, 0.0) for row in sound) for name in names}
    model = ValidityModel(bias, weights, len(truth), int(truth.sum()), usual)
    chances = [model.p_valid(row) for row in rows]
    careful = careful_threshold(chances, valid, precision=CAREFUL)
    return replace(model, careful=careful, strict=max(careful, _strict(chances, valid)))


def _strict(chances: Sequence[float], valid: Sequence[bool]) -> float:
    sound = [chance for chance, is_valid in zip(chances, valid, strict=True) if is_valid]
    for precision in STRICT:
        least = threshold_for(chances, valid, precision=precision)
        if sum(chance >= least for chance in sound) >= MIN_LEFT * len(sound):
            return least
    return 1.0


def _likeliest(seen: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the weights of the columns of `seen`, the first of which is 1 (Newton's method)."""
    # The bias is free: it says how many are valid, not what tells them apart.
    ridge = np.diag([0.0] + [_RIDGE] * (seen.shape[1] - 1))
    weights = np.zeros(seen.shape[1])
    for _ in range(_MAX_ROUNDS):
        chance = 1 / (1 + np.exp(-np.clip(seen @ weights, -50, 50)))
        slope = seen.T @ (truth - chance) - ridge @ weights
        bend = (seen.T * (chance * (1 - chance) + _CLOSE)) @ seen + ridge
        step = np.linalg.solve(bend, slope)
        weights = weights + step
        if np.abs(step).max() < _CLOSE:
            break
    return weights


def threshold_for(chances: Sequence[float], valid: Sequence[bool], *, precision: float) -> float:
    """Return the least threshold from which on at least `precision` of the kept are valid.

    Kept is whose chance is at the threshold or above. Infinity, which keeps nothing, where no
    threshold reaches the precision.
    """
    order = sorted(zip(chances, valid, strict=True), reverse=True)
    best, num_valid = math.inf, 0
    for place, (chance, is_valid) in enumerate(order, start=1):
        num_valid += is_valid
        # Equal chances are kept together or not at all.
        is_last = place == len(order) or order[place][0] < chance
        if is_last and num_valid >= precision * place:
            best = chance
    return best


def careful_threshold(
    chances: Sequence[float], valid: Sequence[bool], *, precision: float
) -> float:
    """Return the greatest threshold below which at least `precision` of the questions are broken.

    0, below which nothing lies, where there is none.
    """
    against = [-chance for chance in chances]
    start = threshold_for(against, [not each for each in valid], precision=precision)
    # What is refused lies below the threshold, so it is the next chance above the last refused.
    return min((each for each in chances if each > -start), default=-start) if start < 0 else 0.0


def shipped() -> tuple[ValidityModel, ...]:
    """Return the models of the package, each of the features that it was fitted on."""
    text = Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
    return tuple(ValidityModel(**each) for each in json.loads(text))


def best_of(models: Sequence[ValidityModel], names: Collection[str] = ()) -> ValidityModel:
    """Return the model that reads most of the signals `names`, and no other signal."""
    fitting = [model for model in models if model.weights.keys() <= {*FITTED, *names}]
    return max(fitting, key=lambda model: len(model.weights))
