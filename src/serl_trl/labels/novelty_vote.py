"""The majority is right, and within it what thinks differently is worth more.

Source: EVOL-RL (arXiv 2509.15194), which also sets TRL's `entropy_coef` to .003 and `epsilon_high`
to .28.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from serl_trl.labels.base import Labelled, Rollouts, Tools
from serl_trl.labels.vote import MajorityVote

if TYPE_CHECKING:
    from serl_trl.filters.embeddings import Encoder

_WORD = re.compile(r"\w+|[^\w\s]")
# What an unparsable completion gets, and the ends of what the others get by their novelty u in
# [0, 1]: .5 + .5u in the majority and -1 + .5u beside it. The order of the three never changes.
_UNPARSABLE, _FLOOR = -1.0, (-1.0, 0.5)
_ALONE, _ALIKE = 1.0, 0.5


class NoveltyVote(MajorityVote):
    """Rewards the majority with .5 to 1 and the others with -1 to -.5, by the novelty of each.

    Novelty is 1 less half the mean cosine to the others of the same side and half the largest
    cosine to any other with an answer, scaled to [0, 1] within the side. The only one of its side
    gets 1, or -.5; sides all alike get .75 and -.75; no answer gets -1. Cosines are of embeddings
    by `embedding_model`, or else of counts of words and pairs of words.
    """

    meaning: ClassVar[str] = (
        "The label is the answer that most completions agree on; within it, unusual ways count "
        "more."
    )
    rewarded: ClassVar[str] = (
        "its majority answer was the label, and unusual ways to it were rewarded more"
    )

    def __init__(self, embedding_model: str | None = None) -> None:
        self.embedding_model = embedding_model
        self._encode: Encoder | None = None

    def label(self, groups: Sequence[Rollouts], tools: Tools) -> list[Labelled]:
        """Judge each group, in one process: devices differ in the last digits of embeddings."""
        return tools.decide(lambda: super(NoveltyVote, self).label(groups, tools))

    def _label(self, group: Rollouts) -> Labelled:
        found, vote = super()._label(group), group.vote
        cosines = self._cosines([each.text for each in group.completions])
        known = [place for place, own in enumerate(vote.classes) if own is not None]
        rewards = [_UNPARSABLE] * len(group.completions)
        for side in (1, 0):
            members = [place for place in known if vote.rewards[place] == side]
            novelty = _novelty(cosines, members, known)
            for place, value in zip(members, novelty, strict=True):
                rewards[place] = _FLOOR[side] + 0.5 * value
        return replace(found, rewards=tuple(rewards))

    def _cosines(self, texts: Sequence[str]) -> np.ndarray:
        """Return the cosines of all pairs of texts, of shape (G, G)."""
        if self.embedding_model and self._encode is None:
            # Imported here: commands that only look list the labellers, and load no filter.
            from serl_trl.filters.embeddings import load_encoder

            self._encode = load_encoder(self.embedding_model)
        vectors = np.asarray((self._encode or count_words)(texts), dtype=np.float64)
        # A text without words has no direction, and is like nothing.
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / np.where(lengths > 0, lengths, 1)
        return vectors @ vectors.T


def _novelty(cosines: np.ndarray, members: Sequence[int], known: Sequence[int]) -> list[float]:
    """Return the novelty of each of `members`, scaled to [0, 1] among them."""
    if len(members) < 2:
        return [_ALONE] * len(members)
    raw = [
        1
        - 0.5 * float(np.mean([cosines[place, other] for other in members if other != place]))
        - 0.5 * max(float(cosines[place, other]) for other in known if other != place)
        for place in members
    ]
    low, high = min(raw), max(raw)
    # Rounding apart; a spread of the last digits would become the whole of [0, 1].
    if high - low < 1e-9:
        return [_ALIKE] * len(members)
    return [(value - low) / (high - low) for value in raw]


def count_words(texts: Sequence[str]) -> np.ndarray:
    """Return one vector for each text: how often it has each word and pair of words."""
    found = []
    for text in texts:
        words = _WORD.findall(text.lower())
        found.append(Counter([*words, *pairwise(words)]))
    columns = {each: place for place, each in enumerate(dict.fromkeys(k for f in found for k in f))}
    vectors = np.zeros((len(texts), max(1, len(columns))))
    for row, counted in enumerate(found):
        for each, times in counted.items():
            vectors[row, columns[each]] = times
    return vectors
