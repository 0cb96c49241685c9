"""Keeps evaluation problems out of training: what overlaps a named evaluation set is refused."""

from collections.abc import Mapping, Sequence

from serl_trl.mathtext import normal_form, plain_tokens
from serl_trl.novelty import RougeLIndex
from serl_trl.verdict import KEEP, Verdict


class ContaminationGuard:
    """Refuses copies of an evaluation problem, overlaps of `ngram` tokens in a row, and near texts.

    Near means a ROUGE-L F1 above `max_rouge_l`, which sees the copies with other numbers; 1 leaves
    it out. A copy is a text whose normal form is a problem's, however short. `evaluation_sets` maps
    a set's name to its problems.
    """

    def __init__(
        self,
        evaluation_sets: Mapping[str, Sequence[str]],
        *,
        ngram: int,
        max_rouge_l: float,
    ) -> None:
        self._ngram = ngram
        self._rouge = RougeLIndex(max_rouge_l)
        self._copies: dict[str, tuple[str, int]] = {}
        self._places: dict[str, tuple[str, int]] = {}
        self._ngrams: dict[str, tuple[str, int]] = {}
        for name, problems in evaluation_sets.items():
            for row, problem in enumerate(problems):
                self._places.setdefault(problem, (name, row))
                self._copies.setdefault(normal_form(problem), (name, row))
                self._rouge.add(problem)
                for words in self._windows(problem):
                    self._ngrams.setdefault(words, (name, row))

    def __len__(self) -> int:
        return len(self._rouge)

    def judge(self, text: str) -> Verdict:
        """Refuse what overlaps; the detail names the set, its row from 0, and what they share."""
        if copied := self._copies.get(normal_form(text)):
            name, row = copied
            return Verdict(
                False, "contamination", {"evaluation_set": name, "row": row, "rouge_l": 1.0}
            )
        for words in self._windows(text):
            if words in self._ngrams:
                name, row = self._ngrams[words]
                return Verdict(
                    False, "contamination", {"evaluation_set": name, "row": row, "shared": words}
                )
        if self._rouge.is_novel(text):
            return KEEP
        nearest = self._rouge.nearest(text)
        assert nearest is not None, "a text that is not novel has a nearest one"
        name, row = self._places[nearest.text]
        detail = {"evaluation_set": name, "row": row, "rouge_l": nearest.score}
        return Verdict(False, "contamination", detail)

    def _windows(self, text: str) -> list[str]:
        tokens = plain_tokens(text)
        starts = range(len(tokens) - self._ngram + 1)
        return [" ".join(tokens[start : start + self._ngram]) for start in starts]
