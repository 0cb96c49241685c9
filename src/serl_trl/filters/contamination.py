"""Keeps evaluation problems out of training: what overlaps a named evaluation set is refused."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from serl_trl.common.mathtext import normal_form, plain_tokens
from serl_trl.common.verdict import KEEP, Verdict
from serl_trl.filters.novelty import RougeLIndex, check_scores

_MIN_RUN = 6  # tokens of a normal form; a shorter run stands in many a problem


class ContaminationGuard:
    """Refuses copies of an evaluation problem, overlaps of `ngram` tokens in a row, and near texts.

    Near means a ROUGE-L F1 above `max_rouge_l`, which sees the copies with other numbers; 1 leaves
    it out. A copy is a text whose normal form is a problem's, however short. A problem of fewer
    than `ngram` tokens is also found inside a longer text, when its normal form has six tokens or
    more. `evaluation_sets` maps a set's name to its problems.
    """

    def __init__(
        self, evaluation_sets: Mapping[str, Sequence[str]], *, ngram: int, max_rouge_l: float
    ) -> None:
        if evaluation_sets:  # the check loads a slow library, which nobody waits for without need
            check_scores(plain_tokens)
        self._ngram = ngram
        self._rouge = RougeLIndex(max_rouge_l)
        self._copies: dict[str, tuple[str, int]] = {}
        self._places: dict[str, tuple[str, int]] = {}
        self._runs: dict[str, tuple[str, int]] = {}
        # The lengths of the short problems that begin with the same six tokens: only runs of such
        # a length are looked up, so that a long text is read in linear time.
        self._short: dict[str, set[int]] = {}
        for name, problems in evaluation_sets.items():
            for row, problem in enumerate(problems):
                self._add(problem, (name, row))

    def _add(self, problem: str, place: tuple[str, int]) -> None:
        self._rouge.add(problem)
        # The first of equal problems, whatever sets hold it.
        self._places.setdefault(problem, place)
        whole, tokens = normal_form(problem), plain_tokens(problem)
        self._copies.setdefault(whole, place)
        for words in _windows(tokens, self._ngram):
            self._runs.setdefault(words, place)
        run = whole.split()
        if len(tokens) < self._ngram and len(run) >= _MIN_RUN:
            self._runs.setdefault(whole, place)
            self._short.setdefault(" ".join(run[:_MIN_RUN]), set()).add(len(run))

    def __len__(self) -> int:
        return len(self._rouge)

    def judge(self, text: str) -> Verdict:
        """Refuse what overlaps; the detail names the set, its row from 0, and what they share."""
        whole = normal_form(text)
        if whole in self._copies:
            return _refuse(self._copies[whole], rouge_l=1.0)
        for words in self._may_be_shared(text, whole.split()):
            if words in self._runs:
                return _refuse(self._runs[words], shared=words)
        # Nearly every proposal is novel, and `is_novel` is cheaper than `nearest`.
        if self._rouge.is_novel(text):
            return KEEP
        nearest = self._rouge.nearest(text)
        assert nearest is not None, "a text that is not novel has a nearest one"
        return _refuse(self._places[nearest.text], rouge_l=nearest.score)

    def _may_be_shared(self, text: str, normal: Sequence[str]) -> Iterator[str]:
        """Yield the runs of `text` that are looked up; those of its normal form only if need be."""
        yield from _windows(plain_tokens(text), self._ngram)
        if not self._short:
            return
        for start, words in enumerate(_windows(normal, _MIN_RUN)):
            for length in self._short.get(words, ()):
                yield " ".join(normal[start : start + length])


def _refuse(place: tuple[str, int], **shared: Any) -> Verdict:
    name, row = place
    return Verdict(False, "contamination", {"evaluation_set": name, "row": row, **shared})


def _windows(tokens: Sequence[str], length: int) -> list[str]:
    starts = range(len(tokens) - length + 1)
    return [" ".join(tokens[start : start + length]) for start in starts]
