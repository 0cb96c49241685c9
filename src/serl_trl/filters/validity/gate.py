"""The signals of one question and its votes, as the chance that the question is valid.

A small logistic model. Its coefficients were fitted on the votes of sandboxes, where validity is
known, and lie in `gate.json`; `fit` makes others from questions of which one knows it. A threshold
follows from the precision that is wanted, `threshold_for`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serl_trl.filters.validity.sign import Sign
from serl_trl.filters.validity.vote_shape import VoteShape, vote_shape

# What the model reads; those that speak for a question, and those against it.
FOR, AGAINST = ("margin", "majority"), ("text", "domain", "shape", "tail", "unparsable")
FEATURES = (*FOR, *AGAINST)


def features_of(*, text: float, domain: Sign, shape: VoteShape) -> dict[str, float]:
    """Return what the model reads, each in [0, 1]: `text` is the doubt of the text signals."""
    return {
        "text": text,
        "domain": domain.score,
        "shape": vote_shape(shape).score,
        **{name: getattr(shape, name) for name in ("margin", "majority", "tail", "unparsable")},
    }


@dataclass(frozen=True)
class ValidityModel:
    """A logistic model: log-odds of "valid" are `bias` plus each feature times its weight.

    `num` questions, of which `num_valid` valid, were fitted.
    """

    bias: float
    weights: Mapping[str, float]
    num: int = 0
    num_valid: int = 0

    def log_odds(self, features: Mapping[str, float]) -> float:
        """Return the log-odds that the question is valid; a feature that is missing counts 0."""
        return self.bias + sum(w * features.get(name, 0.0) for name, w in self.weights.items())

    def p_valid(self, features: Mapping[str, float]) -> float:
        """Return the chance that the question is valid, in [0, 1]."""
        return float(1 / (1 + np.exp(-np.clip(self.log_odds(features), -50, 50))))

    def deciding(self, features: Mapping[str, float], usual: Mapping[str, float]) -> str:
        """Return the feature that speaks most against the question, compared with `usual` values.

        Of equal ones the first.
        """
        against = {
            name: w * (features.get(name, 0.0) - usual.get(name, 0.0))
            for name, w in self.weights.items()
        }
        return min(against, key=lambda name: against[name])


# Weak, so that a feature which is always 0 gets no weight, and two that go together share one.
_RIDGE = 1.0
_MAX_ROUNDS, _CLOSE = 100, 1e-8


def fit(rows: Sequence[Mapping[str, float]], valid: Sequence[bool]) -> ValidityModel:
    """Return the model that suits these questions best, by maximum likelihood with a ridge of 1.

    A feature whose weight would have the wrong sign, so that a sign of a broken question raised its
    chance, gets no weight. Raises `ValueError` unless both valid and broken questions are there.
    """
    truth = np.array(valid, dtype=float)
    if not 0 < truth.sum() < len(truth):
        raise ValueError(
            f"num_valid={int(truth.sum())} of {len(truth)} questions: the model needs valid and "
            "broken ones; add questions of the other sort."
        )
    used = list(FEATURES)
    while True:
        seen = np.array([[1.0, *(row.get(name, 0.0) for name in used)] for row in rows])
        bias, *found = map(float, _likeliest(seen, truth))
        weights = dict(zip(used, found, strict=True))
        wrong = [name for name in used if (weights[name] < 0) == (name in FOR) and weights[name]]
        if not wrong:
            weights = {name: weights.get(name, 0.0) for name in FEATURES}
            return ValidityModel(bias, weights, len(truth), int(truth.sum()))
        # The worst alone: without it the others may be right.
        used.remove(max(wrong, key=lambda name: abs(weights[name])))


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


def shipped() -> ValidityModel:
    """Return the model that comes with the package."""
    text = Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
    return ValidityModel(**json.loads(text))
